"""Baselines that look at no query: random, one single model, and every model's mean on the training rows.

Along a policy curve all of them move to cheaper models by the predicted cost alone. Axes: B queries, M candidates.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

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
        self.quality[column] = task.train_outcomes.score[:, column].mean()

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return np.tile(self.quality, (len(queries.embedding), 1))


class TrainingMeans:
    """The training mean of each model whatever the query; what any method must beat. Ignores the seed."""

    def fit(self, task: Task, seed: int) -> None:
        """Learn the means."""
        self.quality = task.train_outcomes.score.mean(axis=0)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return np.tile(self.quality, (len(queries.embedding), 1))
