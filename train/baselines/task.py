"""The interface of baselines: the `Task` they are fitted on, the `Queries` they judge, the `Baseline` protocol.

A task holds outcomes of training and validation rows, none of the test. Knows no file, no pool and no metric.
Axes: B queries, M candidates, E embedding, A label axes (capabilities, domains).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Queries:
    """B queries of one pool: all that a method may read when it decides."""

    embedding: Array  # (B, E) frozen vectors of unit length
    input_tokens: Array  # (B,) characters / 4
    benchmark: NDArray[Any]  # (B,) str, the truth: only the two tables may read it
    category: NDArray[Any]  # (B,) str "benchmark/category", likewise
    llm_labels: Array  # (B, A) rank weights of capabilities, then domains, by the LLM; NaN in rows without
    predicted_labels: Array  # (B, A) the same, predicted from the embedding (train.baselines.closed_form)
    text: NDArray[Any]  # (B,) str

    def take(self, rows: NDArray[Any]) -> Queries:
        """The queries at `rows`, positions or a mask (B,)."""
        return Queries(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Outcomes:
    """Scores and costs of the answers; methods see those of training and validation rows only."""

    score: Array  # (B, M) in [0, 1]; NaN where a model was not measured
    cost_usd: Array  # (B, M) realised

    @property
    def means(self) -> Array:
        """Mean measured score (M,) of each model; of a model without any, the mean of the others.

        >>> Outcomes(np.array([[1.0, np.nan, 0.5], [0.5, np.nan, np.nan]]), np.zeros((2, 3))).means.tolist()
        [0.75, 0.625, 0.5]
        """
        known = ~np.isnan(self.score)
        count = known.sum(axis=0)
        found = np.where(known, self.score, 0.0).sum(axis=0) / np.maximum(count, 1)
        return np.where(count > 0, found, found[count > 0].mean())


@dataclass(frozen=True)
class Task:
    """One pool under one regime of training and test rows."""

    train: Queries
    train_outcomes: Outcomes
    val: Queries
    val_outcomes: Outcomes
    expected_cost: Array  # (B, M) predicted cost of the validation rows in USD, to choose by AIQ
    best_single: int  # column with the greatest mean score on train
    cheapest: int  # column with the least mean cost on train


class Baseline(Protocol):
    """A method: fitted once on a task, then predicts the quality of queries whose outcomes it never sees."""

    def fit(self, task: Task, seed: int) -> None:
        """Learn from the training rows; validation rows only choose settings."""
        ...

    def predict(self, queries: Queries) -> Array:
        """Predicted quality (B, M), the greater the better; a probability where the method gives one."""
        ...
