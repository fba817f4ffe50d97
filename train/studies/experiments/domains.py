"""Predicted against actual performance per knowledge domain, on held-out queries.

For each domain and model, the mean predicted quality of the domain's queries next to their mean score. What a profile
adds to a leaderboard is how a model differs on a domain from its own mean: those differences are correlated apart.
Axes: B queries, M candidates, D domains with enough queries.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.evaluation.dataset import data_folder, read_dataset
from router.evaluation.pool_report import LABELLER, predict
from router.routing.router import Router
from train.studies.arguments import folds
from train.studies.robustness.sample import draw_sample

Array = NDArray[np.float64]

HELP = "`python -m train experiment domains`: predicted against actual performance per domain on a held-out sample."
FEWEST = 30  # queries of a domain whose means are compared


@dataclass(frozen=True)
class DomainMeans:
    """Predicted and actual means of each domain and model, with their sampling noise."""

    domains: tuple[str, ...]  # D
    queries: NDArray[np.intp]  # (D,)
    predicted: Array  # (D, M)
    actual: Array  # (D, M)
    noise: Array  # (D, M) sampling variance of an actual mean
    noise_apart: Array  # (D, M) the same for a model's mean less that of all: hard queries are hard for all of them


def domain_means(domain: NDArray[np.str_], predicted: Array, score: Array, fewest: int = FEWEST) -> DomainMeans:
    """Means of `predicted` and `score` (B, M) by `domain` (B,), for domains with at least `fewest` queries."""
    names, counts = np.unique(domain, return_counts=True)
    names, counts = names[counts >= fewest], counts[counts >= fewest]
    apart = score - score.mean(axis=1, keepdims=True)

    def by_domain(values: Array, variance: bool = False) -> Array:
        parts = [values[domain == name] for name in names]
        found = [part.var(axis=0, ddof=1) / len(part) if variance else part.mean(axis=0) for part in parts]
        return np.array(found).reshape(len(names), score.shape[1])

    return DomainMeans(
        tuple(str(name) for name in names),
        counts.astype(np.intp),
        by_domain(predicted),
        by_domain(score),
        by_domain(score, variance=True),
        by_domain(apart, variance=True),
    )


def figures(means: DomainMeans) -> dict[str, Any]:
    """Agreement of the predicted means with the actual ones.

    `correlation` is over all cells of domain and model; `error` is the mean absolute difference, `noise` what it would
    be if predictions were the truth. `of_models` correlates cells less their model's mean over domains and their
    domain's mean over models; `greatest` is the highest that sampling noise leaves possible.
    """
    error = np.abs(means.predicted - means.actual).mean()
    predicted, actual = _interaction(means.predicted), _interaction(means.actual)
    signal = max(float((actual**2).mean() - means.noise_apart.mean()), 0.0)
    return {
        "domains": len(means.domains),
        "cells": int(means.actual.size),
        "correlation": correlation(means.predicted, means.actual),
        "error": float(error),
        "noise": float(np.sqrt(2 / np.pi) * np.sqrt(means.noise).mean()),
        "of_models": correlation(predicted, actual),
        "greatest": float(np.sqrt(signal / (actual**2).mean())) if np.abs(actual).max() > 1e-12 else None,
    }


def _interaction(cells: Array) -> Array:
    """Cells (D, M) less the means of their row and of their column.

    >>> _interaction(np.array([[1.0, 2.0], [2.0, 3.0]])).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return cells - cells.mean(axis=0) - cells.mean(axis=1, keepdims=True) + cells.mean()


def correlation(one: Array, other: Array) -> float | None:
    """Pearson's correlation of all cells; None where one side does not vary."""
    if one.size < 2 or np.ptp(one) < 1e-12 or np.ptp(other) < 1e-12:
        return None
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this experiment and of the one on budgets."""
    parser.add_argument("checkpoint", nargs="?", default="checkpoints/routemix", help="default %(default)s")
    parser.add_argument("--data", help="data folder; default ROUTEMIX_DIR, else data/routemix-open")
    parser.add_argument("--pools", nargs="+", help="pool names (default: all of the checkpoint)")
    parser.add_argument("--folds", type=folds, default="8,9", help="folds judged (default %(default)s)")
    parser.add_argument("--queries", type=int, default=2000, help="of each pool at most (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the queries drawn")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Figures of each pool, by the domain that the router reads and, for annotated queries, by the annotator's."""
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
        prediction = predict(router, sample.texts, pool)
        read = np.array(router.taxonomy.domains)[prediction.knowledge.argmax(axis=1)]
        ids = dataset.queries["query_id"].to_numpy()[sample.outcomes.rows]
        noted_domain = np.array([noted.get(query_id) or "" for query_id in ids])
        known = noted_domain != ""
        means = domain_means(read, prediction.quality, sample.outcomes.score)
        by_note = domain_means(noted_domain[known], prediction.quality[known], sample.outcomes.score[known])
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
