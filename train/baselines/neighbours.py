"""k nearest neighbours: a hard baseline to beat (2505.12601). Axes: B queries, M candidates."""

from __future__ import annotations

from sklearn.neighbors import KNeighborsRegressor

from train.baselines.task import Array, Queries, Task

NEIGHBOURS = (10, 30, 50, 100, 200, 400)


class NearestNeighbours:
    """Mean score of each model on the k training queries of greatest cosine, all of them where k is more.

    Ignores the seed.
    """

    def __init__(self, k: int) -> None:
        self.k = k

    def fit(self, task: Task, seed: int) -> None:
        """Store the training queries."""
        k = min(self.k, len(task.train.embedding))
        self.regressor = KNeighborsRegressor(k, metric="cosine")
        self.regressor.fit(task.train.embedding, task.train_outcomes.score)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return self.regressor.predict(queries.embedding)
