"""Sample of judged queries of a pool, and of the training queries that an attacker learns from; they never overlap.

Axes: B queries, M candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.evaluation.dataset import Dataset
from router.evaluation.pool_report import PoolOutcomes, judged_and_training, reference_models
from router.pools.pool import Pool


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
