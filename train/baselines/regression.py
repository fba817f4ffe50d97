"""Regressions of scikit-learn as baselines: every model's score from the embedding, or from what stands in its place.

Axes: N training queries, B queries, M candidates.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from train.baselines.task import Array, Queries, Task

ALPHAS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
TREES, LEAF = 200, 8
ROUNDS = (30, 100, 300)
RATE, LEAVES = 0.05, 15


class Regression:
    """A regressor fitted on measured outcomes alone: none is imputed, and a hole costs no other model a row.

    Models that are measured on the same training rows share one regressor, where `share` allows it; a pool without
    holes has one. A model without any outcome has the mean of the others for every query. Quality may leave [0, 1].

    Args:
        build: makes an unfitted regressor from the number of its training rows and a seed.
        share: whether the regressor has an output for each of several models.
    """

    def __init__(self, build: Callable[[int, int], Any], share: bool = True) -> None:
        self.build, self.share = build, share

    def fit(self, task: Task, seed: int) -> None:
        """Fit each regressor on the rows on which its models are measured."""
        features, score = task.train.embedding, task.train_outcomes.score
        known = ~np.isnan(score)
        self.quality = task.train_outcomes.means
        groups = np.unique(known, axis=1, return_inverse=True)[1] if self.share else np.arange(known.shape[1])
        self.fitted = []
        for group in np.unique(groups):
            columns = np.flatnonzero(groups.ravel() == group)
            rows = np.flatnonzero(known[:, columns[0]])
            if len(rows):
                target = score[np.ix_(rows, columns)]
                target = target[:, 0] if len(columns) == 1 else target  # as regressors want a single output
                self.fitted.append((columns, self.build(len(rows), seed).fit(features[rows], target)))

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        quality = np.tile(self.quality, (len(queries.input_tokens), 1))
        for columns, regressor in self.fitted:
            quality[:, columns] = regressor.predict(queries.embedding).reshape(len(quality), -1)
        return quality


class RidgeScores(Regression):
    """A linear map of the features, one output a model. Ignores the seed."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        super().__init__(lambda rows, seed: Ridge(alpha))


class ExtraTrees(Regression):
    """The mean of TREES trees cut at random, each with an output for every model."""

    def __init__(self) -> None:
        super().__init__(lambda rows, seed: ExtraTreesRegressor(TREES, min_samples_leaf=LEAF, random_state=seed))


class Boosting(Regression):
    """Gradient boosting by histograms, a regressor for each model. Ignores the seed.

    Its time grows with models times features, so it reads few of these: `train.baselines.features.reduced`, 64 axes of
    embedding and TF-IDF and the four numbers of form.
    """

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        super().__init__(
            lambda rows, seed: HistGradientBoostingRegressor(
                learning_rate=RATE, max_iter=rounds, max_leaf_nodes=LEAVES, early_stopping=False, random_state=0
            ),
            share=False,
        )
