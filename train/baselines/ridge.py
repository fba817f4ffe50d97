"""Ridge regression baseline: every model's score from the embedding. Axes: B queries, M candidates."""

import numpy as np
from sklearn.linear_model import Ridge

from train.baselines.task import Array, Queries, Task

ALPHAS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class RidgeScores:
    """A linear map of the embedding, one output a model. Its quality may leave [0, 1]. Ignores the seed."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def fit(self, task: Task, seed: int) -> None:
        """Solve for the weights; where scores are missing, those of each model from its own queries."""
        embedding, score = task.train.embedding, task.train_outcomes.score
        known = ~np.isnan(score)
        parts = [(embedding, score)]
        if not known.all():
            parts = [(embedding[rows], column[rows]) for rows, column in zip(known.T, score.T, strict=True)]
        self.regressors = [Ridge(self.alpha).fit(*part) for part in parts]

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return np.column_stack([regressor.predict(queries.embedding) for regressor in self.regressors])
