"""Upper bound on routing: gain of a router that knows how other models answered the query.

Starts from the first method of a finished comparison, whose rotations predict every query once. Half of a pool's
models are known, the other half is routed among, so that no model's own outcome counts for it. The gain says how much
of what sets models apart on a query can be known at all, and how much of that the text holds.
Axes: N queries of a pool, M models routed among, O others, T numbers known of a query.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from router.arrays import clipped_sigmoid
from router.errors import UsageError
from router.evaluation.metrics import evaluate
from router.evaluation.pool_report import PoolOutcomes
from router.onboarding.profile_fit import ProfilePrior, fit_profile
from train.compare.predictions import Cell, read_cell
from train.compare.regimes import Regime
from train.compare.settings import read_settings
from train.compare.workplace import Workplace, open_workplace

Array = NDArray[np.float64]

HELP = """`python -m train experiment ceiling`: what could be known of a query beyond its text, and what that is worth.

Starts from the first method of a finished comparison (`train compare`, configs/compare/ceiling.yaml), whose rotations
predict every query once. Each pool is split in halves at random, some times over: told how the models of one half
answered a query, the router chooses within the other (`train.studies.experiments.told_answers`).
Axes: N queries of a pool, M models of it."""  # as tests/golden/flags-train.txt has it
CONFIG = "configs/compare/ceiling.yaml"
FIGURES = ("aiq", "quality", "oracle")  # margins: AIQ over the Zero router, scores over the best single model
DEVIATION = 0.3  # prior deviation of the weight of a known number
TRUSTED = 1.0  # prior deviation of the weight of the router's own logit, about 1, and of the bias, about 0


@dataclass(frozen=True)
class RotationPredictions:
    """Validation and test queries of one rotation, with the predictions of a router that learned from neither."""

    outcomes: PoolOutcomes  # of N queries, validation's first
    logit: Array  # (N, M)
    cost: Array  # (N, M) predicted, USD
    judged: NDArray[np.bool_]  # (N,) those of the test folds
    training: PoolOutcomes  # on which best single and cheapest model are chosen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--config", default=CONFIG, help="the comparison (default: %(default)s)")
    parser.add_argument("--splits", type=int, default=6, help="of each pool in halves (default: %(default)s)")


def informed_quality(logit: Array, known: Array, score: Array, judged: NDArray[np.bool_]) -> Array:
    """Quality (J, M) of the `judged` queries (N,), from the router's logits (N, M) and `known` numbers (N, T).

    For each model a logistic regression on its logit and the known numbers, fitted on the scores (N, M) of the other
    queries.
    """
    size = known.shape[1] + 2
    mean, deviation = np.zeros(size), np.full(size, DEVIATION)
    mean[0], deviation[0], deviation[-1] = 1.0, TRUSTED, TRUSTED
    prior = ProfilePrior(mean, np.diag(deviation), np.zeros((0, size)))
    columns = []
    for own, scored in zip(logit.T, score.T, strict=True):
        features = np.column_stack([own, known, np.ones(len(own))])
        columns.append(clipped_sigmoid(features[judged] @ fit_profile(features[~judged], scored[~judged], prior).row))
    return np.column_stack(columns)


def no_numbers(others: Array) -> Array:
    """No number (N, 0): the text alone."""
    return np.zeros((len(others), 0))


def mean_of_others(others: Array) -> Array:
    """Mean (N, 1) of the others' scores (N, O), less a half."""
    return others.mean(axis=1, keepdims=True) - 0.5


def each_of_others(others: Array) -> Array:
    """Score of each other model (N, O), less a half."""
    return others - 0.5


KNOWN: dict[str, Callable[[Array], Array]] = {
    "the text": no_numbers,
    "and how many others answer": mean_of_others,
    "and what each other answers": each_of_others,
}


def read_rotation(
    place: Workplace, regime: Regime, part: str, pool: str, method: str, seed: int
) -> RotationPredictions:
    """Predictions in one cell of the comparison; UsageError where it is missing."""
    file = Cell(regime.name, part, pool, method, seed).file(place.out)
    if not file.is_file():
        raise UsageError(f"{file} is missing: run `python -m train compare` with the same --config first")
    cell, rows, outcomes = read_cell(file), place.rows(regime, part, seed), place.outcomes[pool]
    val, test = outcomes.take(rows.val), outcomes.take(rows.test)
    both = (np.concatenate(pair) for pair in zip(astuple(val), astuple(test), strict=True))
    quality = np.clip(np.concatenate([cell.val_quality, cell.quality]), 1e-6, 1 - 1e-6)
    return RotationPredictions(
        PoolOutcomes(*both),
        np.log(quality / (1 - quality)),
        np.concatenate([cell.val_cost_usd, cell.cost_usd]),
        np.arange(len(quality)) >= len(val.rows),
        outcomes.take(rows.yardstick),
    )


def half_figures(rotation: RotationPredictions, split: int) -> dict[str, list[float]]:
    """FIGURES by what is known, with the models of one half known and those of the other routed among.

    The weights are fitted on the validation queries and judged on the test queries. Empty where the best single model
    is the cheapest.
    """
    order = np.random.default_rng(split).permutation(rotation.logit.shape[1])
    others, ours = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    training, judged = rotation.training, rotation.judged
    best, cheapest = int(training.score[:, ours].mean(0).argmax()), int(training.realised_usd[:, ours].mean(0).argmin())
    if best == cheapest:
        return {}
    outcomes = rotation.outcomes
    score, realised = outcomes.score[:, ours], outcomes.realised_usd[judged][:, ours]
    found = {}
    for name, numbers in KNOWN.items():
        quality = informed_quality(rotation.logit[:, ours], numbers(outcomes.score[:, others]), score, judged)
        report = evaluate(quality, rotation.cost[judged][:, ours], score[judged], realised, best, cheapest)
        over_best = [each - report.best_single for each in (report.quality, report.oracle)]
        found[name] = [report.aiq - report.aiq_zero, *over_best]
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Means of FIGURES over rotations for each pool, by what is known, and the AIQ margin by rotation."""
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
        by_part = []  # (what is known, figure)
        for part in tqdm(regime.parts, desc=pool, unit="rotation"):
            rotations = [read_rotation(place, regime, part, pool, method, seed) for seed in seeds]
            halves = [half_figures(each, split) for each in rotations for split in range(options.splits)]
            if any(halves):
                by_part.append(np.mean([list(half.values()) for half in halves if half], axis=0))
        if len(by_part) < 2:
            raise UsageError(f"pool {pool}: the best single model is the cheapest in nearly all of its halves")
        by_known = zip(KNOWN, np.stack(by_part, axis=1), strict=True)  # (rotation, figure)
        pools[pool] = {
            name: {**dict(zip(FIGURES, each.mean(0).tolist(), strict=True)), "by_part": each[:, 0].tolist()}
            for name, each in by_known
        }
    return {"config": options.config, "method": method, "seeds": list(seeds), "splits": options.splits, "pools": pools}


def table(report: dict[str, Any]) -> str:
    """The rows as Markdown; the gain over the text alone with its standard deviation over rotations."""
    lines = [
        "| pool | what is known of a query | AIQ margin | added to the text's (± over rotations) | quality | oracle |",
        "|---|---|---|---|---|---|",
    ]
    for pool, rows in report["pools"].items():
        text = np.array(next(iter(rows.values()))["by_part"])
        for name, row in rows.items():
            added = np.array(row["by_part"]) - text
            gain = f"{added.mean():+.4f} ±{added.std(ddof=1):.4f}" if name != next(iter(rows)) else ""
            lines.append(
                f"| {pool} | {name} | {row['aiq']:+.4f} | {gain} | {row['quality']:+.4f} | {row['oracle']:+.4f} |"
            )
    return "\n".join(lines)
