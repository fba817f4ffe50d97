"""Choice of a baseline's setting on validation rows, by the area under its cost-quality hull (AIQ); means of baselines.

The Zero router is the same for every setting, so the greatest AIQ has the greatest margin over it.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import numpy as np

from router.evaluation.metrics import evaluate
from train.baselines.task import Array, Baseline, Queries, Task

Setting = TypeVar("Setting")


def choose(settings: Iterable[Setting], build: Callable[[Setting], Baseline], task: Task, seed: int = 0) -> Baseline:
    """The fitted baseline of greatest `merit` on the validation rows; the first of equals."""
    fitted = [build(setting) for setting in settings]
    for baseline in fitted:
        baseline.fit(task, seed)
    return max(fitted, key=lambda baseline: merit(baseline, task))


def merit(baseline: Baseline, task: Task) -> float:
    """AIQ of a fitted baseline on the validation rows (docs/method.md section 4).

    Where models were not measured on some of them, no hull has all: then minus the mean squared error of measured ones.
    """
    quality, outcomes = baseline.predict(task.val), task.val_outcomes
    if np.isnan(outcomes.score).any():
        return -float(np.nanmean((quality - outcomes.score) ** 2))
    return evaluate(quality, task.expected_cost, outcomes.score, outcomes.cost_usd, task.best_single, task.cheapest).aiq


class Tuned(Generic[Setting]):
    """A baseline fitted with every setting, of which it keeps the best (`choose`).

    Attributes:
        chosen: the baseline in use, after `fit`; its attributes hold the setting.
    """

    chosen: Baseline

    def __init__(self, settings: Iterable[Setting], build: Callable[[Setting], Baseline]) -> None:
        self.settings, self.build = settings, build

    def fit(self, task: Task, seed: int) -> None:
        """Fit with every setting, keep one."""
        self.chosen = choose(self.settings, self.build, task, seed)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M) of the chosen baseline."""
        return self.chosen.predict(queries)


class MeanOf:
    """The mean of the qualities that several baselines predict, each with the setting that it chose by itself."""

    def __init__(self, *baselines: Baseline) -> None:
        self.baselines = baselines

    def fit(self, task: Task, seed: int) -> None:
        """Fit each of them."""
        for baseline in self.baselines:
            baseline.fit(task, seed)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return np.mean([baseline.predict(queries) for baseline in self.baselines], axis=0)
