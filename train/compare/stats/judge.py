"""Evaluation of all methods on one pool and regime, with shared bootstrap draws.

It reads finished cells. Subsets judged besides all queries: `measured`, benchmarks with measured answer lengths;
`annotated`, queries that the LLM labelled; `benchmark NAME`. `margins` computes the figures, `tally` averages and tests
their draws.
Axes: N queries of the folder, B judged queries, R draws.
"""

import zlib
from dataclasses import replace

import numpy as np

from router.evaluation.metrics import CURVE_WEIGHTS, Array
from router.evaluation.pool_report import LABELLER, PoolOutcomes
from router.options import DEFAULT_DIAL
from router.policy.constraints import cost_weights
from router.pools.pool import Pool
from train.baselines.oracle import guess_corrected_oracle
from train.compare.predictions import Cell, read_cell
from train.compare.regimes import Mask, Regime, Rows
from train.compare.stats.bootstrap import query_weights
from train.compare.stats.margins import BINS, COST_GRID, Judged, Yardstick, aiq_margin, figures, reliability
from train.compare.stats.tally import ALL, POOL, Row, Tally
from train.compare.workplace import Workplace

FEWEST = 20  # queries below which a subset of a part is not judged
CURVES = {
    "height": COST_GRID,
    "strongest": CURVE_WEIGHTS,
    **{f"{cells}_{side}": np.arange(BINS, dtype=np.float64) for cells in ("chosen", "cells")
       for side in ("predicted", "observed")},
}  # fmt: skip


def judge_pool(place: Workplace, job: tuple[Regime, str]) -> list[Row]:
    """Rows of the tidy table of a regime and a pool."""
    regime, pool = job
    rows: list[Row] = []
    for subset, mask in subsets(place, regime, pool).items():
        tally = Tally()
        for part in regime.parts:
            if pool in place.pools_under(regime, part):
                _judge_part(place, regime, part, pool, subset, mask, tally)
        head = {"regime": regime.name, "pool": pool, "subset": subset}
        rows += [head | row for row in tally.rows(place.settings.reference, CURVES, details=subset == ALL)]
    return rows


def subsets(place: Workplace, regime: Regime, pool: str) -> dict[str, Mask]:
    """Masks (N,) of a pool's subsets by name; a subset that holds all its queries or none is left out."""
    dataset, rows = place.dataset, place.outcomes[pool].rows
    benchmark = dataset.queries["benchmark"].to_numpy(str)
    cells = dataset.measured[:, place.columns(place.pools[pool])]
    measured = [name for name in np.unique(benchmark[rows]) if cells[rows[benchmark[rows] == name]].mean() > 0.5]
    labelled = [note.query_id for note in dataset.annotations if note.annotator == LABELLER]
    found = {
        "measured": np.isin(benchmark, measured),
        "annotated": dataset.queries["query_id"].isin(labelled).to_numpy(bool),
    }
    if regime.kind == "in-distribution":
        found |= {f"benchmark {name}": benchmark == name for name in np.unique(benchmark[rows])}
    proper = {name: mask for name, mask in found.items() if 0 < mask[rows].sum() < len(rows)}
    return {ALL: np.ones(len(benchmark), bool)} | proper


def _judge_part(
    place: Workplace, regime: Regime, part: str, pool: str, subset: str, wanted: Mask, tally: Tally
) -> None:
    """Add the draws of every method on one part to the tally."""
    rows = place.rows(regime, part, 0)  # test rows and yardstick do not depend on the seed
    members, every = place.members(regime, part, pool)
    outcomes = every.take(rows.test).complete()
    kept = wanted[outcomes.rows]
    if subset != ALL and kept.sum() < FEWEST:
        return
    best, cheapest, span = place.references(regime, part, pool, rows.yardstick)
    weight = float(cost_weights(DEFAULT_DIAL, 1, span if span > 0 else 1.0)[1][0])
    judged = Judged(outcomes.score[kept], outcomes.realised_usd[kept], best, cheapest, weight)
    seed = zlib.crc32(f"{regime.name}/{part}/{pool}/{subset}".encode())
    weights = query_weights(len(judged.score), place.settings.bootstraps, seed)
    yardstick = Yardstick.of(judged, weights)
    counts = {"members": len(members.candidates), "members_given": len(place.pools[pool].candidates)}
    for metric, draws in (facts(judged, yardstick) | {k: np.array([float(v)]) for k, v in counts.items()}).items():
        tally.add(POOL, metric, part, 0, draws)
    even = _at_equal_lengths(place, members, every, rows, judged) if subset == ALL else None
    even_yardstick = Yardstick.of(even, weights) if even else None
    for method, seeds in place.settings.methods.items():
        for each in seeds:
            cell = read_cell(Cell(regime.name, part, pool, method, each).file(place.out))
            quality, cost = cell.quality[kept], cell.cost_usd[kept]
            found = figures(quality, cost, judged, yardstick, weights) | diagram(quality, judged)
            if even and even_yardstick:  # the given lengths are what every router expects
                margin = aiq_margin(quality, even.realised, even, even_yardstick, weights)
                found["aiq_equal_lengths_margin"] = margin
            for metric, draws in found.items():
                if subset == ALL or metric not in CURVES:
                    tally.add(method, metric, part, each, draws)


def _at_equal_lengths(
    place: Workplace, pool: Pool, outcomes: PoolOutcomes, rows: Rows, judged: Judged
) -> Judged | None:
    """The judged queries at costs of equal answer lengths; the cheapest model is chosen anew on training rows."""
    even = place.at_equal_lengths(pool, outcomes)
    if even is None:
        return None
    cheapest = int(even.take(rows.yardstick).realised_usd.mean(axis=0).argmin())
    return replace(judged, realised=even.take(rows.test).complete().realised_usd, cheapest=cheapest)


def facts(judged: Judged, yardstick: Yardstick) -> dict[str, Array]:
    """Figures that no method changes, over draws (R,) or of the sample alone (1,), and the Zero router's heights."""
    return {
        "n": np.array([float(len(judged.score))]),
        "random": np.array([judged.score.mean()]),
        "best_single": yardstick.best,
        "cheapest": yardstick.floor,
        "oracle": yardstick.oracle,
        "oracle_guess_corrected": np.array([guess_corrected_oracle(judged.score)]),
        "aiq_zero": yardstick.aiq,
        "height": yardstick.zero.heights(yardstick.grid),
    }


def diagram(quality: Array, judged: Judged) -> dict[str, Array]:
    """Reliability diagrams of the model chosen at dial 0 and of all cells, (1, BINS) each."""
    chosen = np.arange(len(quality)), quality.argmax(axis=1)
    found = {}
    for cells, predicted, observed in (
        ("chosen", quality[chosen], judged.score[chosen]),
        ("cells", quality.ravel(), judged.score.ravel()),
    ):
        found[f"{cells}_predicted"], found[f"{cells}_observed"] = (
            side[None] for side in reliability(predicted, observed)
        )
    return found
