"""Anchors: the queries to grade for a new model, informative about its profile and yet usual.

Greedy Bayesian experimental design under a logistic model: each step draws a few queries at random and takes the one
that lowers the mean variance of the logits over all queries most (V-optimality, Chaloner & Verdinelli, 1995). The draw
keeps the choice diverse and the kinds of queries as frequent as they are: the greedy optimum of all queries consists of
odd ones, and from 100 answers on it does worse than chance (docs/experiments.md). Pure numpy.
Axes: N queries, F features, R leading directions of the prior, n anchors.
"""

import numpy as np
from numpy.typing import NDArray

from router.arrays import clipped_sigmoid
from router.errors import UsageError
from router.onboarding.profile_fit import Array, ProfilePrior, leading

DRAWN = 10  # queries that each step draws
CONSIDERED = 2000  # queries to choose from, enough for up to 200 anchors
DIRECTIONS = 64  # leading directions of the prior that count


def choose_anchors(features: Array, prior: ProfilePrior, n: int, seed: int = 0) -> NDArray[np.intp]:
    """Rows (n,) of `features` (N, F) in the order of choice; a smaller `n` with the same seed gives the first ones.

    Raises UsageError for an `n` outside 1 to N.
    """
    if not 1 <= n <= len(features):
        raise UsageError(f"n must lie in 1 to {len(features)}, the number of different queries, got {n}")
    generator = np.random.default_rng(seed)
    projected = features @ leading(prior.factor, DIRECTIONS)  # (N, R), in standard deviations of the prior
    quality = clipped_sigmoid(features @ prior.mean)
    weight = quality * (1 - quality)  # information in a graded answer
    information = (projected * weight[:, None]).T @ projected / len(projected)
    covariance = np.eye(projected.shape[1])  # of the directions, given the anchors so far
    left, chosen = np.arange(len(projected)), np.empty(n, np.intp)
    for step in range(n):
        drawn = generator.choice(len(left), min(DRAWN, len(left)), replace=False)
        rows = left[drawn]
        moved = projected[rows] @ covariance  # (drawn, R)
        spent = 1 + weight[rows] * (moved * projected[rows]).sum(axis=1)
        gain = weight[rows] * np.einsum("ij,jk,ik->i", moved, information, moved) / spent
        best = int(gain.argmax())
        chosen[step] = rows[best]
        covariance -= weight[rows[best]] / spent[best] * np.outer(moved[best], moved[best])
        left = np.delete(left, drawn[best])
    return chosen
