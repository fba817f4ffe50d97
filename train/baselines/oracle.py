"""What outcomes alone say: the oracle, how much of it is luck, and the Zero router. Not methods: they see the truth.

Axes: B queries, M candidates.
"""

from __future__ import annotations

import math

import numpy as np

from router.evaluation.metrics import Hull, upper_hull
from train.baselines.task import Array


def oracle(score: Array) -> float:
    """Mean over queries of the best score (B, M) any model reached.

    >>> oracle(np.array([[1.0, 0.0], [0.0, 0.5]]))
    0.75
    """
    return float(score.max(axis=1).mean())


def zero_router(score: Array, cost_usd: Array) -> Hull:
    """The hull of the single models, from outcomes (B, M)."""
    return upper_hull(cost_usd.mean(axis=0), score.mean(axis=0))


def guess_corrected_oracle(score: Array) -> float:
    """The oracle of scores (B, M) less what independent lucky guessing would add to it; a cautious estimate.

    Model: on some queries no model knows the answer, and each is right by luck with the same probability g; then the
    numbers of models that are right are binomial. g is read off the queries that no model and exactly one model got
    right (score >= 1/2), as though every answer that only one model found were luck. The queries with k right answers
    which that predicts, but no more than there are, count as such; on them the oracle gets g, what a router gets that
    knows all but the luck.

    It errs to the low side where one model alone is able to answer, and to the high side where models guess alike
    (shared distractors) or have several options less; g of free-form answers is a fiction. With one model it is its
    mean, and where every query is answered by some model nothing is taken off.

    >>> guess_corrected_oracle(np.array([[1.0], [0.0], [0.0], [0.0]]))
    0.25
    """
    models, best = score.shape[1], score.max(axis=1)
    right = (score >= 0.5).sum(axis=1)
    observed = np.bincount(right, minlength=models + 1) / len(score)  # share of queries with k right answers
    if observed[0] == 0:
        return oracle(score)
    odds = observed[1] / (models * observed[0])
    expected = observed[0] * np.array([math.comb(models, k) * odds**k for k in range(models + 1)])
    lucky = np.minimum(1.0, expected / np.maximum(observed, 1e-12))[right]  # (B,) probability that nobody knew
    return float(np.mean(best * (1 - lucky) + lucky * odds / (1 + odds)))
