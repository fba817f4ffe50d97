"""`python -m train experiment ceiling`: what could be known of a query beyond its text, and what that is worth.

Starts from the first method of a finished comparison (`train compare`, configs/compare/ceiling.yaml), whose rotations
predict every query once. Each pool is split in halves at random, some times over: told how the models of one half
answered a query, the router chooses within the other (`train.studies.experiments.told_answers`).
Axes: N queries of a pool, M models of it.
"""

from __future__ import annotations

import argparse
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from router.errors import UsageError
from router.evaluation.metrics import evaluate
from router.evaluation.pool_report import PoolOutcomes
from train.compare.predictions import Cell, read_cell
from train.compare.regimes import Regime
from train.compare.settings import read_settings
from train.compare.workplace import Workplace, open_workplace
from train.studies.experiments.told_answers import TOLD, Array, told_quality

CONFIG = "configs/compare/ceiling.yaml"
FIGURES = ("aiq", "quality", "oracle")  # margins: AIQ over the Zero router, scores over the best single model


@dataclass(frozen=True)
class Seen:
    """The validation and test queries of one rotation, as a router predicts them that learned from neither."""

    outcomes: PoolOutcomes  # of N queries, validation's first
    logit: Array  # (N, M)
    cost: Array  # (N, M) predicted, USD
    judged: NDArray[np.bool_]  # (N,) those of the test folds
    training: PoolOutcomes  # on which best single and cheapest model are chosen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--config", default=CONFIG, help="the comparison (default: %(default)s)")
    parser.add_argument("--splits", type=int, default=6, help="of each pool in halves (default: %(default)s)")


def seen_by(place: Workplace, regime: Regime, part: str, pool: str, method: str, seed: int) -> Seen:
    """The predictions in one cell of the comparison; UsageError where it is missing."""
    file = Cell(regime.name, part, pool, method, seed).file(place.out)
    if not file.is_file():
        raise UsageError(f"{file} is missing: run `python -m train compare` with the same --config first")
    cell, rows, outcomes = read_cell(file), place.rows(regime, part, seed), place.outcomes[pool]
    val, test = outcomes.take(rows.val), outcomes.take(rows.test)
    both = (np.concatenate(pair) for pair in zip(astuple(val), astuple(test), strict=True))
    quality = np.clip(np.concatenate([cell.val_quality, cell.quality]), 1e-6, 1 - 1e-6)
    return Seen(
        PoolOutcomes(*both),
        np.log(quality / (1 - quality)),
        np.concatenate([cell.val_cost_usd, cell.cost_usd]),
        np.arange(len(quality)) >= len(val.rows),
        outcomes.take(rows.yardstick),
    )


def half_figures(seen: Seen, split: int) -> dict[str, list[float]]:
    """FIGURES by what is told, with the models in one half told about and those in the other routed to.

    What is told is weighed by the validation queries and judged on the others. Empty where the best single model is the
    cheapest.
    """
    order = np.random.default_rng(split).permutation(seen.logit.shape[1])
    others, ours = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    training, judged = seen.training, seen.judged
    best, cheapest = int(training.score[:, ours].mean(0).argmax()), int(training.realised_usd[:, ours].mean(0).argmin())
    if best == cheapest:
        return {}
    score, realised = seen.outcomes.score[:, ours], seen.outcomes.realised_usd[judged][:, ours]
    found = {}
    for name, told_of in TOLD.items():
        quality = told_quality(seen.logit[:, ours], told_of(seen.outcomes.score[:, others]), score, judged)
        report = evaluate(quality, seen.cost[judged][:, ours], score[judged], realised, best, cheapest)
        over_best = [each - report.best_single for each in (report.quality, report.oracle)]
        found[name] = [report.aiq - report.aiq_zero, *over_best]
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Of each pool, by what is told, the mean of FIGURES over rotations, and by rotation the AIQ margin."""
    if options.splits < 1:
        raise UsageError(f"--splits must be at least 1, got {options.splits}")
    settings = read_settings(options.config)
    place = open_workplace(settings)
    regime = next((each for each in place.regimes if each.kind == "in-distribution"), None)
    if regime is None or len(regime.parts) < 2:
        raise UsageError(f"{options.config}: needs two rotations or more of the regime in-distribution")
    method, seeds = next(iter(settings.methods.items()))
    pools = {}
    for pool in place.pools:
        by_part = []  # (what is told, figure)
        for part in tqdm(regime.parts, desc=pool, unit="rotation"):
            cells = [seen_by(place, regime, part, pool, method, seed) for seed in seeds]
            halves = [half_figures(seen, split) for seen in cells for split in range(options.splits)]
            if any(halves):
                by_part.append(np.mean([list(half.values()) for half in halves if half], axis=0))
        if len(by_part) < 2:
            raise UsageError(f"pool {pool}: the best single model is the cheapest in nearly all of its halves")
        told = zip(TOLD, np.stack(by_part, axis=1), strict=True)  # (rotation, figure)
        pools[pool] = {
            name: {**dict(zip(FIGURES, each.mean(0).tolist(), strict=True)), "by_part": each[:, 0].tolist()}
            for name, each in told
        }
    return {"config": options.config, "method": method, "seeds": list(seeds), "splits": options.splits, "pools": pools}


def table(report: dict[str, Any]) -> str:
    """The rows as Markdown; what telling adds with its standard deviation over rotations."""
    lines = [
        "| pool | what is known of a query | AIQ margin | added to the text's (± over rotations) | quality | oracle |",
        "|---|---|---|---|---|---|",
    ]
    for pool, rows in report["pools"].items():
        text = np.array(next(iter(rows.values()))["by_part"])
        for name, row in rows.items():
            added = np.array(row["by_part"]) - text
            told = f"{added.mean():+.4f} ±{added.std(ddof=1):.4f}" if name != next(iter(rows)) else ""
            lines.append(
                f"| {pool} | {name} | {row['aiq']:+.4f} | {told} | {row['quality']:+.4f} | {row['oracle']:+.4f} |"
            )
    return "\n".join(lines)
