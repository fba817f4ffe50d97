"""Tables of mean scores by true benchmark or true category.

They are told the truth at test time, which no router is: a mark to measure against, not a competitor.
Axes: B queries, M candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from train.baselines.task import Array, Queries, Task


class MeansTable:
    """Mean training score of each model on the query's true benchmark, or on its true category. Ignores the seed.

    A category without training rows has the means of its benchmark, a benchmark without any those of the pool.
    """

    def __init__(self, by: Literal["benchmark", "category"]) -> None:
        self.by = by

    def fit(self, task: Task, seed: int) -> None:
        """Learn the means of the pool, of each benchmark and, by category, of each category."""
        score = task.train_outcomes.score
        self.pool: Array = score.mean(axis=0)
        self.benchmarks = means_by(task.train.benchmark, score)
        self.categories = means_by(task.train.category, score) if self.by == "category" else {}

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        names = zip(queries.category, queries.benchmark, strict=True)
        return np.array([self.categories.get(c, self.benchmarks.get(b, self.pool)) for c, b in names])


def means_by(names: NDArray[Any], score: Array) -> Mapping[str, Array]:
    """Mean (M,) of the rows of `score` (B, M) that carry each of `names` (B,).

    >>> means_by(np.array(["a", "b", "a"]), np.array([[1.0], [0.5], [0.0]]))
    {'a': array([0.5]), 'b': array([0.5])}
    """
    return {str(name): score[names == name].mean(axis=0) for name in np.unique(names)}
