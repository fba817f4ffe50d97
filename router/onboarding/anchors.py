"""Anchors: the queries to grade for a new model, informative about its profile and yet usual.

Greedy Bayesian experimental design under a logistic model: each step draws a few queries at random and takes the one
that lowers the mean variance of the logits over all queries most (V-optimality, Chaloner & Verdinelli, 1995). The draw
keeps the choice diverse and the kinds of queries as frequent as they are: the greedy optimum of all queries consists of
odd ones, and from 100 answers on it does worse than chance (docs/experiments.md).
Axes: N queries, F features, R leading directions of the prior, n anchors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.arrays import clipped_sigmoid
from router.checkpoint.checkpoint import Checkpoint
from router.errors import UsageError
from router.onboarding.add_model import encode_queries, query_features, query_lengths
from router.onboarding.prior import Prior
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


@dataclass(frozen=True, eq=False)
class Anchors:
    """The chosen of several texts, and what the router reads in them."""

    rows: NDArray[np.intp]  # (n,) places among the texts, in the order of choice
    read: int  # texts that they were chosen from
    features: Array  # (n, F)
    log_length: Array  # (n,) log factors of the length of an answer


def anchors_among(
    checkpoint: Checkpoint,
    protocol: str,
    prior: Prior,
    texts: Sequence[str],
    n: int,
    seed: int = 0,
    progress: bool = False,
) -> Anchors:
    """`n` anchors among different `texts`, of which at most CONSIDERED, or DRAWN for each anchor, are read."""
    most = max(CONSIDERED, DRAWN * n)  # reading more queries would take minutes and change little
    read = np.arange(len(texts))
    if len(texts) > most:
        read = np.sort(np.random.default_rng(seed).choice(len(texts), most, replace=False))
    query = encode_queries(checkpoint.encoder, checkpoint.network, [texts[int(row)] for row in read], progress)
    features = query_features(query, checkpoint, protocol)
    chosen = choose_anchors(features, prior.row, n, seed)
    return Anchors(read[chosen], len(read), features[chosen], query_lengths(query, checkpoint, protocol)[chosen])
