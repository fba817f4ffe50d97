"""What a router could know of a query beyond its text: how other models answered this very query.

Half of a pool's models are told about, the other half is routed among, so that no model's own outcome counts for it:
how much better the choice becomes says how much of what parts models on a query can be known at all, and how much of
that the text tells. Pure numpy. Axes: B queries, M models routed among, O others, T numbers told of a query.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from router.arrays import clipped_sigmoid
from router.onboarding.profile_fit import ProfilePrior, fit_profile

Array = NDArray[np.float64]

DEVIATION = 0.3  # of the weight of a number told, before anything is seen
TRUSTED = 1.0  # of the weight of the router's own logit, about 1, and of the bias, about 0


def told_quality(logit: Array, told: Array, score: Array, judged: NDArray[np.bool_]) -> Array:
    """Quality (J, M) on the `judged` queries (B,), from the router's logits (B, M) and what is `told` (B, T).

    Of each model a logistic regression on its logit and what is told, fitted on the scores (B, M) of the other queries.
    """
    size = told.shape[1] + 2
    mean, deviation = np.zeros(size), np.full(size, DEVIATION)
    mean[0], deviation[0], deviation[-1] = 1.0, TRUSTED, TRUSTED
    prior = ProfilePrior(mean, np.diag(deviation), np.zeros((0, size)))
    columns = []
    for own, scored in zip(logit.T, score.T, strict=True):
        features = np.column_stack([own, told, np.ones(len(own))])
        row = fit_profile(features[~judged], scored[~judged], prior).row
        columns.append(clipped_sigmoid(features[judged] @ row))
    return np.column_stack(columns)


def nothing(others: Array) -> Array:
    """The text alone: no number (B, 0) besides."""
    return np.zeros((len(others), 0))


def how_many_answer(others: Array) -> Array:
    """The mean (B, 1) of the others' scores (B, O), less a half."""
    return others.mean(axis=1, keepdims=True) - 0.5


def each_answer(others: Array) -> Array:
    """The score of each other model (B, O), less a half."""
    return others - 0.5


TOLD: dict[str, Callable[[Array], Array]] = {
    "the text": nothing,
    "and how many others answer": how_many_answer,
    "and what each other answers": each_answer,
}
