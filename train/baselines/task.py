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

    def take(self, rows: NDArray[Any]) -> Queries:
        """The queries at `rows`, positions or a mask (B,)."""
        return Queries(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Outcomes:
    """Scores and costs of the answers; methods see those of training and validation rows only."""

    score: Array  # (B, M) in [0, 1]; NaN only for methods of `methods.WITH_HOLES`
    cost_usd: Array  # (B, M) realised, likewise


@dataclass(frozen=True)
class Task:
    """One pool under one regime of training and test rows."""

    train: Queries
    train_outcomes: Outcomes
    val: Queries
    val_outcomes: Outcomes
    expected_cost: Array  # (B, M) predicted cost of the validation rows in USD, to choose by AIQ
    best_single: int  # column with the greatest mean score on train; of an additive fit where scores are missing
    cheapest: int  # column with the least mean cost on train, likewise


class Baseline(Protocol):
    """A method: fitted once on a task, then predicts the quality of queries whose outcomes it never sees."""

    def fit(self, task: Task, seed: int) -> None:
        """Learn from the training rows; validation rows only choose settings."""
        ...

    def predict(self, queries: Queries) -> Array:
        """Predicted quality (B, M), the greater the better; a probability where the method gives one."""
        ...
