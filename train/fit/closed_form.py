"""The paper's closed form: profiles as averages of scores times rank weights, routing as one matrix product.

InferenceDynamics (2505.16303), docs/method.md section 1. Pure numpy. `Taxonomy.targets` makes the label weights, C
columns of capabilities, then K of domains. Axes: N index queries, B queries, M models, A = C + K.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.errors import DataError, UsageError

Array = NDArray[np.float64]


class ClosedForm:
    """Profiles (M, A) fitted by averaging; the queries to route need labels, from an annotator or a network.

    Attributes:
        profile: (M, A), the mean over the index queries that carry the axis of `(score - beta * cost) * weight`. It is
            free of NaN; `fit` says what stands on axes on which a model has no outcome.
        count: (M, A), the number of index queries behind each entry, 0 where the entry is a fall-back.
    """

    profile: Array
    count: NDArray[np.int64]

    def fit(
        self,
        label_weights: NDArray[np.floating],
        score: NDArray[np.floating],
        cost: NDArray[np.floating] | None = None,
        beta: float = 0.0,
    ) -> ClosedForm:
        """Profiles of the models from N index queries; returns self.

        The entry of model t for axis e is the mean of `(s - beta * c) * w` over the index queries that carry e and have
        a score of t (the divisor is their number, not the sum of the weights). Without such a query the entry is the
        overall mean of `s - beta * c` of t times the mean weight of e (times 1 where no query carries e). A model
        without any score counts as the mean of the others.

        Args:
            label_weights: (N, A) rank weights >= 0; an index query carries the axes above 0.
            score: (N, M) in [0, 1], NaN without an outcome.
            cost: (N, M) in USD, needed for beta above 0; a cell whose cost is then NaN counts as missing.
            beta: the price of cost, in score per USD; 0 ignores it.

        Raises:
            UsageError: shapes disagree, a weight is negative or NaN, or beta is not 0 and there is no cost.
            DataError: no model has a score.

        >>> ClosedForm().fit(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[1.0], [0.5]])).profile.tolist()
        [[0.625, 0.25]]
        """
        weights, worth = np.asarray(label_weights, np.float64), np.asarray(score, np.float64)
        _check(weights, worth, cost, beta)
        if cost is not None and beta:
            worth = worth - beta * np.asarray(cost, np.float64)
        seen = ~np.isnan(worth)
        if not seen.any():
            raise DataError("no index query has a score: annotate queries that have outcomes")
        worth = np.where(seen, worth, 0.0)
        carries = weights > 0
        self.count = seen.astype(np.int64).T @ carries.astype(np.int64)
        means = _means(worth, seen)
        carried = carries.sum(axis=0)
        usual_weight = np.where(carried > 0, weights.sum(axis=0) / np.maximum(carried, 1), 1.0)
        fitted = (worth.T @ weights) / np.maximum(self.count, 1)
        self.profile = np.where(self.count > 0, fitted, means[:, None] * usual_weight)
        return self

    def predict(self, label_weights: NDArray[np.floating]) -> Array:
        """Scores (B, M) of queries with label weights (B, A): route to the argmax. Not probabilities.

        Capabilities and domains each contribute up to one mean score, so values lie in about [0, 2] for beta 0.

        Raises:
            UsageError: before `fit`, or the number of axes differs from that at `fit`.
        """
        if not hasattr(self, "profile"):
            raise UsageError("the closed form has no profiles yet: call fit(label_weights, score) first")
        weights = np.asarray(label_weights, np.float64)
        if weights.ndim != 2 or weights.shape[1] != self.profile.shape[1]:
            axes = self.profile.shape[1]
            raise UsageError(f"label_weights has shape {weights.shape}, allowed is (B, {axes}), as at fit")
        return weights @ self.profile.T


def _means(worth: Array, seen: NDArray[np.bool_]) -> Array:
    """(M,) mean worth of each model's seen cells; the mean of the others for a model without any."""
    number = seen.sum(axis=0)
    means = worth.sum(axis=0) / np.maximum(number, 1)
    return np.where(number > 0, means, means[number > 0].mean())


def _check(weights: Array, score: Array, cost: NDArray[np.floating] | None, beta: float) -> None:
    if weights.ndim != 2 or score.ndim != 2 or len(weights) != len(score):
        raise UsageError(
            f"label_weights {weights.shape} and score {score.shape} must be (N, A) and (N, M) of the same N queries"
        )
    if not (weights >= 0).all():
        raise UsageError("label_weights must be numbers >= 0: make them with Taxonomy.targets")
    if cost is not None and cost.shape != score.shape:
        raise UsageError(f"cost has shape {cost.shape}, allowed is that of score, {score.shape}")
    if beta and cost is None:
        raise UsageError(f"beta is {beta}: give cost (N, M) in USD, or beta 0 to ignore cost")
