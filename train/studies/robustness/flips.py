"""Flips of the chosen model under harmless rewording, and their cost, on a sample of judged queries of a pool.

Measured at a dial at which the pool's models share the calls: a router that always chooses one model never flips. The
sample and the training queries that an attacker learns from never overlap. Axes: B queries, M candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from router.evaluation import metrics
from router.evaluation.dataset import Dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import PoolOutcomes, Predictions, judged_and_training, predict, reference_models
from router.options import DEFAULT_DIAL, DIAL_MAX
from router.policy.constraints import cost_weights, rank
from router.pools.pool import Pool
from router.routing.router import Router
from train.studies.robustness.rewording import PERTURBATIONS, perturbed

SHARE_LIMIT = 0.6  # docs/method.md section 4: no model takes more of the calls
DIALS = np.linspace(0, DIAL_MAX, 41)


@dataclass(frozen=True)
class Sample:
    """Some judged queries of a pool."""

    texts: list[str]  # (B,)
    outcomes: PoolOutcomes  # of the same queries
    best_single: int  # columns chosen on training rows
    cheapest: int
    attacker: list[str]  # texts of training rows

    def head(self, count: int) -> Sample:
        """The first `count` judged queries."""
        outcomes = self.outcomes
        kept = PoolOutcomes(outcomes.rows[:count], outcomes.score[:count], outcomes.realised_usd[:count])
        return replace(self, texts=self.texts[:count], outcomes=kept)


def draw_sample(dataset: Dataset, pool: Pool, folds: Sequence[int], count: int, seed: int) -> Sample:
    """At most `count` of the pool's queries in `folds`, drawn by `seed`, and at most as many of its training rows.

    Training rows are folds 0 to 6 less `folds`. Raises DataError where the pool has no query in `folds`.
    """
    judged, known = judged_and_training(dataset, pool, None, list(folds))
    best, cheapest = reference_models(known, pool)
    generator = np.random.default_rng(seed)
    drawn, seen = (generator.permutation(len(part.rows))[:count] for part in (judged, known))
    text = dataset.queries["text"].to_numpy()
    outcomes = PoolOutcomes(judged.rows[drawn], judged.score[drawn], judged.realised_usd[drawn])
    return Sample(text[outcomes.rows].tolist(), outcomes, best, cheapest, text[known.rows[seen]].tolist())


def choices(quality: Array, cost: Array, dial: float, cost_range: float) -> NDArray[np.intp]:
    """Columns (B,) chosen at `dial` by predictions (B, M); costs and their range in USD.

    >>> choices(np.array([[0.9, 0.8]]), np.array([[2.0, 1.0]]), 10.0, 1.0).tolist()
    [1]
    """
    _, weight = cost_weights(dial, len(quality), cost_range)
    return rank(quality, cost, weight, np.ones(quality.shape, bool), 1)[1][:, 0]


def greatest_share(chosen: NDArray[np.intp]) -> float:
    """Share of the calls that the most called model takes.

    >>> greatest_share(np.array([0, 0, 2, 0]))
    0.75
    """
    return float(np.bincount(chosen).max() / len(chosen))


def shared_dial(quality: Array, cost: Array, cost_range: float) -> float:
    """The dial nearest to the default at which no model takes more than `SHARE_LIMIT` of the calls.

    If there is none, the dial at which the most called model takes least.
    """
    shares = np.array([greatest_share(choices(quality, cost, dial, cost_range)) for dial in DIALS])
    shared = shares <= SHARE_LIMIT
    best = np.where(shared, np.abs(DIALS - DEFAULT_DIAL), np.inf).argmin() if shared.any() else shares.argmin()
    return float(DIALS[best])


def cost_shift(before: NDArray[np.intp], after: NDArray[np.intp], cost: Array, cost_range: float) -> float:
    """Mean cost of the choices `after` (B,) less that of the choices `before`, by `cost` (B, M), over `cost_range`.

    >>> cost_shift(np.array([0, 1]), np.array([1, 1]), np.array([[1.0, 3.0], [1.0, 5.0]]), 2.0)
    0.5
    """
    rows = np.arange(len(cost))
    return float((cost[rows, after] - cost[rows, before]).mean() / cost_range)


def flip_figures(
    router: Router, pool: Pool, sample: Sample, dial: float | None = None, seed: int = 0, progress: bool = False
) -> dict[str, Any]:
    """Share of choices unchanged, cost shifts and change of AIQ for each perturbation, and the dial.

    A cost shift is the extra cost of the new choices on the unchanged queries, over the pool's cost range. A `dial` of
    None becomes `shared_dial`'s.
    """
    cost_range = router.candidates(pool).cost_range_usd
    clean = predict(router, sample.texts, pool)
    if dial is None:
        dial = shared_dial(clean.quality, clean.cost_usd, cost_range)
    before = choices(clean.quality, clean.cost_usd, dial, cost_range)
    aiq = _aiq(clean, sample)
    by_name: dict[str, dict[str, float]] = {}
    for name in tqdm(PERTURBATIONS, desc=f"flips of {pool.name}", disable=not progress):
        reworded = predict(router, [perturbed(text, name, seed) for text in sample.texts], pool)
        after = choices(reworded.quality, reworded.cost_usd, dial, cost_range)
        by_name[name] = {
            "unchanged": float((before == after).mean()),
            "predicted_cost_shift": cost_shift(before, after, clean.cost_usd, cost_range),
            "realised_cost_shift": cost_shift(before, after, sample.outcomes.realised_usd, cost_range),
            "aiq_change": _aiq(reworded, sample) - aiq,
        }
    return {"n": len(before), "dial": dial, "greatest_share": greatest_share(before), "perturbations": by_name}


def _aiq(predictions: Predictions, sample: Sample) -> float:
    outcomes = sample.outcomes
    return metrics.evaluate(
        predictions.quality,
        predictions.cost_usd,
        outcomes.score,
        outcomes.realised_usd,
        sample.best_single,
        sample.cheapest,
    ).aiq
