"""`python -m train experiment domains`: predicted against actual performance per domain on a held-out sample."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from router.evaluation.dataset import data_folder, read_dataset
from router.evaluation.pool_report import LABELLER, predict
from router.routing.router import Router
from train.studies.experiments.domain_profiles import domain_means, figures
from train.studies.held_out import folds
from train.studies.robustness.sample import draw_sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this experiment, which the one on budgets has too."""
    parser.add_argument("checkpoint", nargs="?", default="checkpoints/routemix", help="default %(default)s")
    parser.add_argument("--data", help="data folder; default ROUTEMIX_DIR, else data/routemix-open")
    parser.add_argument("--pools", nargs="+", help="pool names (default: all of the checkpoint)")
    parser.add_argument("--folds", type=folds, default="8,9", help="folds judged (default %(default)s)")
    parser.add_argument("--queries", type=int, default=2000, help="of each pool at most (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the queries drawn")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Figures of each pool, by the domain that the router reads and, of annotated queries, by the annotator's."""
    router = Router.from_pretrained(options.checkpoint)
    dataset = read_dataset(data_folder(options.data))
    noted = {
        note.query_id: router.taxonomy.domain_of(note.knowledge[0])
        for note in dataset.annotations
        if note.annotator == LABELLER
    }
    pools = {}
    for name in options.pools or list(router.pools):
        pool = router.pool(name)
        sample = draw_sample(dataset, pool, options.folds, options.queries, options.seed)
        seen = predict(router, sample.texts, pool)
        read = np.array(router.taxonomy.domains)[seen.knowledge.argmax(axis=1)]
        ids = dataset.queries["query_id"].to_numpy()[sample.outcomes.rows]
        told = np.array([noted.get(query_id) or "" for query_id in ids])
        known = told != ""
        means = domain_means(read, seen.quality, sample.outcomes.score)
        by_note = domain_means(told[known], seen.quality[known], sample.outcomes.score[known])
        pools[name] = {
            "queries": len(sample.texts),
            "annotated": int(known.sum()),
            "read": figures(means) if means.domains else None,
            "annotator": figures(by_note) if by_note.domains else None,
            "table": [
                {"domain": domain, "queries": int(n), "predicted": float(p.mean()), "actual": float(a.mean())}
                for domain, n, p, a in zip(means.domains, means.queries, means.predicted, means.actual, strict=True)
            ],
        }
    return {"folds": options.folds, "seed": options.seed, "pools": pools}


def table(report: dict[str, Any]) -> str:
    """The figures as Markdown, then each pool's domains."""
    lines = [
        "| pool | domain by | queries | domains | correlation | error (of noise alone) | models apart: r (possible) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, pool in report["pools"].items():
        for by, queries in (("read", pool["queries"]), ("annotator", pool["annotated"])):
            if found := pool[by]:
                lines.append(
                    f"| {name} | {by} | {queries:,} | {found['domains']} | {_number(found['correlation'])} | "
                    f"{found['error']:.3f} ({found['noise']:.3f}) | {_number(found['of_models'])} "
                    f"({_number(found['greatest'])}) |"
                )
    for name, pool in report["pools"].items():
        cells = [
            f"{row['domain']} ({row['queries']}) {row['predicted']:.2f}, {row['actual']:.2f}" for row in pool["table"]
        ]
        lines += ["", f"{name}, mean predicted and actual over its models: {'; '.join(cells)}."]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
