"""Baselines that do not read the query's text: random, a single model, and mean scores, overall or by category.

All but the two tables decide alike for every query; along a policy curve they move to cheaper models by the predicted
cost alone. The tables know the query's true benchmark or category, which no router does: they are a mark to measure
against, not a competitor. Axes: B queries, M candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from train.baselines.task import Array, Queries, Task


class RandomQuality:
    """Qualities drawn uniformly from [0, 1] for every query and model: no probabilities, its ECE means nothing."""

    def fit(self, task: Task, seed: int) -> None:
        """Keep the seed; equal calls of `predict` give equal draws."""
        self.seed, self.models = seed, task.train_outcomes.score.shape[1]

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return np.random.default_rng(self.seed).random((len(queries.embedding), self.models))


class SingleModel:
    """The training mean for one model, 0 for every other: at dial 0 all calls go to it. Ignores the seed."""

    def __init__(self, which: Literal["best_single", "cheapest"]) -> None:
        self.which = which

    def fit(self, task: Task, seed: int) -> None:
        """Learn the mean of the model, which the task has chosen on its training rows."""
        column = int(getattr(task, self.which))
        self.quality = np.zeros(task.train_outcomes.score.shape[1])
        self.quality[column] = np.nanmean(task.train_outcomes.score[:, column])

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return np.tile(self.quality, (len(queries.embedding), 1))


class TrainingMeans:
    """The training mean of each model for every query; any method must beat it. Ignores the seed."""

    def fit(self, task: Task, seed: int) -> None:
        """Learn the means."""
        self.quality = task.train_outcomes.score.mean(axis=0)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return np.tile(self.quality, (len(queries.embedding), 1))


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
