"""Oracle and guess-corrected oracle: bounds from outcomes alone, which no method may see.

Axes: B queries, M candidates.
"""

import math

import numpy as np

from train.baselines.task import Array


def oracle(score: Array) -> float:
    """Mean over queries of the best of the models' scores (B, M).

    >>> oracle(np.array([[1.0, 0.0], [0.0, 0.5]]))
    0.75
    """
    return float(score.max(axis=1).mean())


def guess_corrected_oracle(score: Array) -> float:
    """The oracle of scores (B, M) without the share of independent lucky guesses; a cautious estimate.

    Model: on some queries no model knows the answer, and each model is right by luck with the same probability g. The
    number of models that are right is then binomial. g follows from the shares of queries that no model and exactly
    one model got right (score >= 1/2), as if every answer that only one model found were luck. The binomial gives
    the expected number of lucky queries with k right answers, at most the observed number. On lucky queries the oracle
    gets g, like a router that knows everything but the luck.

    The estimate is too low where only one model is able to answer. It is too high where models guess alike (shared
    distractors) or rule out some options first; g of free-form answers is a fiction. With one model the estimate is the
    model's mean; where some model answers every query it is the oracle.

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
    lucky = np.minimum(1.0, expected / np.maximum(observed, 1e-12))[right]  # (B,) probability that no model knew
    return float(np.mean(best * (1 - lucky) + lucky * odds / (1 + odds)))
