"""Expected answer lengths from embeddings: with prices, the predicted cost that all baselines share.

Knows no prices and no pools. Axes: N training queries, B queries, M candidates, E embedding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from train.baselines.task import Array
from train.fit.losses import SHORTEST_TOKENS

ALPHA = 10.0  # on fold 7, AIQ is flat from 1 to 100
FEWEST = 50  # a system with fewer measured answers gets its mean length for every query


class AnswerLengths:
    """Ridge regression of each system's log answer tokens on the embedding.

    The exponential of a mean logarithm is too short on average, so each system's lengths are scaled until predicted
    and measured means agree on the training rows (a ratio form of Duan's smearing factor). A system with fewer than
    `FEWEST` measured answers gets their mean for every query, a system without any gets 0 tokens.
    """

    def fit(self, embedding: Array, tokens: NDArray[np.floating]) -> AnswerLengths:
        """Learn from answer tokens (N, M), NaN where not measured, of queries (N, E); returns self."""
        measured = ~np.isnan(tokens)
        count = measured.sum(axis=0)
        self.mean: Array = np.where(measured, tokens, 0.0).sum(axis=0, dtype=np.float64) / np.maximum(count, 1)
        self.weight, self.intercept = np.zeros((len(count), embedding.shape[1])), np.zeros(len(count))
        self.smearing: Array = self.mean.copy()  # the exponential of intercept 0 times the mean
        for column in np.flatnonzero(count >= FEWEST):
            rows = measured[:, column]
            known = tokens[rows, column].astype(np.float64)
            ridge = Ridge(ALPHA).fit(embedding[rows], np.log(np.maximum(known, SHORTEST_TOKENS)))
            self.weight[column], self.intercept[column] = ridge.coef_, ridge.intercept_
            self.smearing[column] = known.mean() / np.exp(ridge.predict(embedding[rows])).mean()
        return self

    def predict(self, embedding: Array) -> Array:
        """Expected answer tokens (B, M), at least 0."""
        return np.exp(embedding @ self.weight.T + self.intercept) * self.smearing
