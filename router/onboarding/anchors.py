"""Which queries to grade for a new model: those that tell most about a profile, without straying from what is usual.

Greedy Bayesian experimental design under a logistic model: each step takes, of a few queries drawn at random, the one
that lowers the mean variance of the logits over all queries most (V-optimality, Chaloner & Verdinelli, 1995). Drawing
first keeps the choice diverse and the kinds of queries as frequent as they are: the greedy optimum of all queries
is made of odd ones, and from 100 answers on does worse than chance (docs/experiments.md). Pure numpy.
Axes: N queries, F features, R leading directions of the prior, n anchors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.arrays import clipped_sigmoid
from router.errors import UsageError
from router.onboarding.profile_fit import Array, ProfilePrior, leading

DRAWN = 10  # queries that each step chooses from
CONSIDERED = 2000  # queries to choose from that are plenty for up to 200 anchors
DIRECTIONS = 64  # of the prior that are planned for


def choose_anchors(features: Array, prior: ProfilePrior, n: int, seed: int = 0) -> NDArray[np.intp]:
    """Rows (n,) of `features` (N, F) in the order of choice: a shorter list of the same seed is its beginning.

    Raises UsageError for an n that is not in 1 to N.
    """
    if not 1 <= n <= len(features):
        raise UsageError(f"n must lie in 1 to {len(features)}, the number of different queries, got {n}")
    generator = np.random.default_rng(seed)
    told = features @ leading(prior.factor, DIRECTIONS)  # (N, R), in standard deviations of the prior
    quality = clipped_sigmoid(features @ prior.mean)
    weight = quality * (1 - quality)  # how much a graded answer tells
    usual = (told * weight[:, None]).T @ told / len(told)
    covariance = np.eye(told.shape[1])  # of the directions, given what has been chosen
    left, chosen = np.arange(len(told)), np.empty(n, np.intp)
    for step in range(n):
        drawn = generator.choice(len(left), min(DRAWN, len(left)), replace=False)
        rows = left[drawn]
        moved = told[rows] @ covariance  # (drawn, R)
        spent = 1 + weight[rows] * (moved * told[rows]).sum(axis=1)
        gain = weight[rows] * np.einsum("ij,jk,ik->i", moved, usual, moved) / spent
        best = int(gain.argmax())
        chosen[step] = rows[best]
        covariance -= weight[rows[best]] / spent[best] * np.outer(moved[best], moved[best])
        left = np.delete(left, drawn[best])
    return chosen
