"""Agreement of the onnxruntime backends with torch: `python -m train backends CHECKPOINT`.

Every backend decides on the same queries; equal decisions are counted and the scores of the chosen models compared.
Axes: B queries, M candidates.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from router.errors import DataError
from router.evaluation.dataset import Dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import pool_outcomes, predict, row_masks
from router.options import BACKENDS
from router.policy.constraints import cost_weights, rank
from router.routing.router import Router
from train.compare.report.markdown import markdown_table
from train.studies.inputs import folds, router_and_data, study_parser

DIALS = (0.0, 3.0, 5.0)
NEAR = 1e-5  # utilities that differ by less are a tie, which rounding may decide
OTHERS = tuple(name for name in BACKENDS if name not in ("auto", "torch"))
COLUMNS = "pool|n|backend|dial|equal decisions|unequal, no tie|mean score lost".split("|")


def compare(reference: Array, other: Array, weight: Array, cost: Sequence[Array], score: Array) -> dict[str, float]:
    """Differences between decisions by qualities `other` (B, M) and by `reference` (B, M).

    `cost` holds both predicted costs (B, M), `weight` (B,) the worth of a dollar, `score` (B, M) the recorded outcomes.
    `unexplained` is the share of different decisions where the reference's two best utilities are no tie.

    >>> quality, free = np.array([[0.5, 0.6], [0.5, 0.500001]]), np.zeros((2, 2))
    >>> score = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> compare(quality, quality[:, ::-1], np.zeros(2), (free, free), score)
    {'equal': 0.0, 'unexplained': 0.5, 'score': 0.5, 'lost': 0.0}
    """
    rows, admitted = np.arange(len(score)), np.ones(score.shape, bool)
    utility, best = rank(reference, cost[0], weight, admitted, 2)
    chosen = rank(other, cost[1], weight, admitted, 1)[1][:, 0]
    top = np.take_along_axis(utility, best, axis=1)
    moved = chosen != best[:, 0]
    before, after = (float(score[rows, pick].mean()) for pick in (best[:, 0], chosen))
    return {
        "equal": 1 - float(moved.mean()),
        "unexplained": float((moved & (top[:, 0] - top[:, 1] >= NEAR)).mean()),
        "score": before,
        "lost": before - after,
    }


def study(torch: Router, dataset: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of `compare` with torch for every pool on the folds asked for, by backend and dial."""
    others = {name: Router.from_pretrained(options.checkpoint, backend=name) for name in options.backends}
    mask = row_masks(dataset, None, options.folds)[0]
    figures: dict[str, Any] = {}
    for pool in torch.pools.values():
        outcomes = pool_outcomes(dataset, pool).take(mask)
        if not (n := len(outcomes.rows)):
            continue
        texts = dataset.queries["text"].to_numpy()[outcomes.rows].tolist()
        expected = predict(torch, texts, pool, sys.stderr.isatty())
        weights = {f"{dial:g}": cost_weights(dial, n, torch.candidates(pool).cost_range_usd)[1] for dial in DIALS}
        figures[pool.name] = {"n": n}
        for name, router in others.items():
            made = predict(router, texts, pool, sys.stderr.isatty())
            cost = expected.cost_usd, made.cost_usd
            figures[pool.name][name] = {
                dial: compare(expected.quality, made.quality, weight, cost, outcomes.score)
                for dial, weight in weights.items()
            }
    if not figures:
        raise DataError(f"no query of folds {options.folds} has a score of every member of a pool")
    return figures


def table(figures: Mapping[str, Any], backends: Sequence[str]) -> str:
    """Markdown table of the figures, a row for each pool, backend and dial."""
    return markdown_table(COLUMNS, [
        (pool, f"{each['n']:,}", name, dial, f"{row['equal']:.2%}", f"{row['unexplained']:.2%}", f"{row['lost']:+.5f}")
        for pool, each in figures.items() for name in backends for dial, row in each[name].items()
    ])  # fmt: skip


def main(args: list[str] | None = None) -> int:
    """Print the table, or with --json the figures; 0 when done."""
    parser = study_parser(
        "backends", "Whether other backends decide as torch does: `python -m train backends CHECKPOINT`."
    )
    parser.add_argument("--folds", type=folds, default="8,9", help="folds judged (default %(default)s)")
    parser.add_argument(
        "--backends", nargs="+", choices=OTHERS, default=["onnx", "onnx-int8"], help="default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(args)
    router, dataset = router_and_data(options)
    figures = study(router, dataset, options)
    print(json.dumps(figures, indent=1) if options.json else table(figures, options.backends))
    return 0
