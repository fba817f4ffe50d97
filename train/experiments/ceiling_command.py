"""`python -m train experiment ceiling`: what could be known of a query beyond its text, and what that is worth.

Starts from the first method of a finished comparison (`train compare`, configs/compare/ceiling.yaml), whose rotations
predict every query once. Each pool is split in halves at random, some times over: told how the models of one half
answered a query, the router chooses within the other (`train.experiments.told_answers`).
Axes: N queries of a pool, M models of it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from router.errors import UsageError
from router.evaluation import PoolOutcomes
from router.metrics import evaluate
from train.compare.predictions import Cell, read_cell
from train.compare.regimes import Regime
from train.compare.settings import read_settings
from train.compare.workplace import Workplace, open_workplace
from train.experiments.told_answers import TOLD, Array, told_quality

CONFIG = "configs/compare/ceiling.yaml"
FIGURES = ("aiq", "quality", "oracle")  # margins: AIQ over the Zero router, scores over the best single model


@dataclass(frozen=True)
class Seen:
    """A pool's queries as routers that had not seen them predict them."""

    outcomes: PoolOutcomes  # of the N queries that are judged
    logit: Array  # (N, M)
    cost: Array  # (N, M) predicted, USD
    part: NDArray[np.intp]  # (N,) the rotation that judges each


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--config", default="configs/compare/ceiling.yaml", help="the comparison (default: %(default)s)"
    )
    parser.add_argument("--splits", type=int, default=6, help="of each pool in halves (default: %(default)s)")


def gathered(place: Workplace, regime: Regime, pool: str, method: str, seed: int) -> Seen:
    """The predictions of all rotations together; UsageError where one is missing."""
    outcomes = place.outcomes[pool]
    logit, cost = (np.full(outcomes.score.shape, np.nan) for _ in range(2))
    part = np.full(len(outcomes.rows), -1)
    for number, name in enumerate(regime.parts):
        file = Cell(regime.name, name, pool, method, seed).file(place.out)
        if not file.is_file():
            raise UsageError(f"{file} is missing: run `python -m train compare` with the same --config first")
        cell = read_cell(file)
        at = np.searchsorted(outcomes.rows, cell.test_rows)
        quality = np.clip(cell.quality, 1e-6, 1 - 1e-6)
        logit[at], cost[at], part[at] = np.log(quality / (1 - quality)), cell.cost_usd, number
    judged = np.isin(np.arange(len(place.texts)), outcomes.rows[part >= 0])
    return Seen(outcomes.take(judged), *(each[part >= 0] for each in (logit, cost, part)))


def half_figures(seen: Seen, category: NDArray[np.intp], split: int) -> list[tuple[str, int, list[float]]]:
    """FIGURES by what is told and the part judged, with the models in one half told about and in the other routed to.

    A part in which the best single model is the cheapest is left out.
    """
    order = np.random.default_rng(split).permutation(seen.logit.shape[1])
    others, ours = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    score, realised = seen.outcomes.score[:, ours], seen.outcomes.realised_usd[:, ours]
    found = []
    for part in np.unique(seen.part):
        judged = seen.part == part
        best, cheapest = int(score[~judged].mean(0).argmax()), int(realised[~judged].mean(0).argmin())
        if best == cheapest:
            continue
        for name, told_of in TOLD.items():
            told = told_of(category, seen.outcomes.score[:, others])
            quality = told_quality(seen.logit[:, ours], told, score, judged)
            report = evaluate(quality, seen.cost[judged][:, ours], score[judged], realised[judged], best, cheapest)
            over_best = [each - report.best_single for each in (report.quality, report.oracle)]
            found.append((name, int(part), [report.aiq - report.aiq_zero, *over_best]))
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Of each pool, by what is told, the mean of FIGURES, and by rotation what telling adds."""
    if options.splits < 1:
        raise UsageError(f"--splits must be at least 1, got {options.splits}")
    settings = read_settings(options.config)
    place = open_workplace(settings)
    regime = next((each for each in place.regimes if each.kind == "in-distribution"), None)
    if regime is None or len(regime.parts) < 2:
        raise UsageError(f"{options.config}: needs two rotations or more of the regime in-distribution")
    queries = place.dataset.queries
    labels = queries["benchmark"].astype(str) + "/" + queries["category"].astype(str)
    category = np.unique(labels, return_inverse=True)[1]
    method, seeds = next(iter(settings.methods.items()))
    pools: dict[str, Any] = {}
    for pool in place.pools:
        figures: dict[str, list[list[float]]] = {}
        by_part: dict[str, dict[int, list[float]]] = {}
        for seed in seeds:
            seen = gathered(place, regime, pool, method, seed)
            own = np.unique(category[seen.outcomes.rows], return_inverse=True)[1]
            for split in tqdm(range(options.splits), desc=f"{pool}, seed {seed}", unit="split"):
                for name, part, margins in half_figures(seen, own, split):
                    figures.setdefault(name, []).append(margins)
                    by_part.setdefault(name, {}).setdefault(part, []).append(margins[0])
        pools[pool] = {
            name: dict(zip(FIGURES, np.mean(each, axis=0).tolist(), strict=True))
            | {"by_part": [float(np.mean(by_part[name][part])) for part in sorted(by_part[name])]}
            for name, each in figures.items()
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
