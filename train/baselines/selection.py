"""Choice of a baseline's setting on validation rows, by the area under its cost-quality hull (AIQ).

The Zero router is the same for every setting, so the greatest AIQ has the greatest margin over it. Where validation
scores are missing there is no such area, and the least squared error over the known ones chooses.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import numpy as np

from router.evaluation.metrics import evaluate
from train.baselines.task import Array, Baseline, Queries, Task

Setting = TypeVar("Setting")


def choose(settings: Iterable[Setting], build: Callable[[Setting], Baseline], task: Task, seed: int = 0) -> Baseline:
    """The fitted baseline that does best on the validation rows; the first of equals."""
    fitted = [build(setting) for setting in settings]
    for baseline in fitted:
        baseline.fit(task, seed)
    holes = np.isnan(task.val_outcomes.score).any()
    return max(fitted, key=lambda baseline: (validation_fit if holes else validation_aiq)(baseline, task))


def validation_aiq(baseline: Baseline, task: Task) -> float:
    """AIQ of a fitted baseline on the validation rows (docs/method.md section 4)."""
    quality, outcomes = baseline.predict(task.val), task.val_outcomes
    return evaluate(quality, task.expected_cost, outcomes.score, outcomes.cost_usd, task.best_single, task.cheapest).aiq


def validation_fit(baseline: Baseline, task: Task) -> float:
    """Mean squared error, negative, of a fitted baseline over the known validation scores."""
    return -float(np.nanmean((baseline.predict(task.val) - task.val_outcomes.score) ** 2))


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
