"""Quality within budgets, on a held-out sample, next to single models and the oracle.

The router meets each budget on predicted costs; its choices are judged by what they really cost and scored.
Axes: B queries, M candidates.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from router.errors import UsageError
from router.evaluation.dataset import data_folder, read_dataset
from router.evaluation.metrics import upper_hull
from router.evaluation.pool_report import Predictions, predict
from router.policy.budget import best_within
from router.routing.router import Router
from train.studies.experiments.domains import add_arguments
from train.studies.robustness.sample import Sample, draw_sample

__all__ = ["HELP", "add_arguments", "run", "table"]

HELP = """`python -m train experiment budget`: quality within budgets, on a held-out sample, next to single models.

Budgets are shares of what the best single model costs; the router meets them on predicted costs
(`router.policy.budget`), and is judged by what its choices really cost and scored. Axes: B queries, M candidates."""
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the best single model's mean cost


def within_budgets(
    predictions: Predictions, sample: Sample, shares: tuple[float, ...] = SHARES
) -> list[dict[str, Any]]:
    """A row per budget: cost in USD per 1,000 queries and score, with the scores that they are compared with.

    `zero` is the best mixture of single models at the cost that the router really had; `oracle` knows every score and
    cost and has the same budget. A budget that cannot be met has the cost None.
    """
    score, realised = sample.outcomes.score, sample.outcomes.realised_usd
    singles = upper_hull(realised.mean(axis=0), score.mean(axis=0))
    admitted, each = np.ones(score.shape, bool), np.arange(len(score))
    best = 1000 * float(realised[:, sample.best_single].mean())
    rows = []
    for share in shares:
        budget = share * best
        try:
            choice = best_within(predictions.quality, predictions.cost_usd, admitted, budget).choice
        except UsageError:  # less than the cheapest models are predicted to cost
            rows.append({"share": share, "budget": budget, "cost": None})
            continue
        cost = float(realised[each, choice].mean())
        rows.append(
            {
                "share": share,
                "budget": budget,
                "cost": 1000 * cost,
                "score": float(score[each, choice].mean()),
                "zero": singles.height(cost),
                "oracle": _oracle(score, realised, budget),
            }
        )
    return rows


def _oracle(score: np.ndarray, realised: np.ndarray, budget: float) -> float | None:
    """Mean score of the best choice within the budget; None where no choice is."""
    try:
        choice = best_within(score, realised, np.ones(score.shape, bool), budget).choice
    except UsageError:
        return None
    return float(score[np.arange(len(score)), choice].mean())


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The rows of each pool."""
    router = Router.from_pretrained(options.checkpoint)
    dataset = read_dataset(data_folder(options.data))
    pools = {}
    for name in options.pools or list(router.pools):
        pool = router.pool(name)
        sample = draw_sample(dataset, pool, options.folds, options.queries, options.seed)
        rows = within_budgets(predict(router, sample.texts, pool), sample)
        score = sample.outcomes.score
        pools[name] = {
            "queries": len(sample.texts),
            "best_single": pool.candidates[sample.best_single].facts.id,
            "best_score": float(score[:, sample.best_single].mean()),
            "rows": rows,
        }
    return {"folds": options.folds, "seed": options.seed, "pools": pools}


def table(report: dict[str, Any]) -> str:
    """The rows as Markdown."""
    lines = [
        "| pool | budget: share of the best single model's · USD per 1,000 | really cost | score | margin over the "
        "Zero router at that cost | oracle |",
        "|---|---|---|---|---|---|",
    ]
    for name, pool in report["pools"].items():
        for row in pool["rows"]:
            head = f"| {name} | {row['share']:.0%} · {row['budget']:.4g}"
            if row["cost"] is None:
                lines.append(f"{head} | cannot be met | | | |")
                continue
            margin = "cheaper than any single model" if row["zero"] is None else f"{row['score'] - row['zero']:+.4f}"
            oracle = "" if row["oracle"] is None else f"{row['oracle']:.3f}"
            lines.append(f"{head} | {row['cost']:.4g} | {row['score']:.3f} | {margin} | {oracle} |")
        lines.append(f"| {name} | best single: {pool['best_single']} | | {pool['best_score']:.3f} | | |")
    return "\n".join(lines)
