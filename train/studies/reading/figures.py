"""Figures with a bootstrap interval and the bar they are held to, and the table that shows them.

Knows no router and no texts. Axes: N rows, which a bootstrap draws.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, roc_auc_score

from router.evaluation.metrics import Array

DRAWS = 500
Statistic = Callable[..., float]


@dataclass(frozen=True)
class Figure:
    """One measured number; `pool` says where, if the same is measured in several pools or for several texts."""

    part: str
    name: str
    value: float  # NaN where nothing could be measured, which `note` then explains
    low: float = math.nan  # of the 95% interval
    high: float = math.nan
    n: int = 0  # rows
    bar: float | None = None
    better: int = 1  # 1: the greater the better, so that the bar is a least value; -1: the less the better
    pool: str = ""
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the value reaches the bar; what could not be measured falls short."""
        if self.bar is None:
            return ""
        return "holds" if self.better * (self.value - self.bar) >= 0 else "falls short"

    def to_json(self) -> dict[str, Any]:
        """All fields and the verdict; NaN is null."""
        raw = asdict(self) | {"verdict": self.verdict}
        return {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in raw.items()}


def measured(part: str, name: str, statistic: Statistic, *columns: ArrayLike, seed: int = 0, **more: Any) -> Figure:
    """The figure `statistic(*columns)` of columns (N, ...), its interval the 2.5% and 97.5% quantiles of DRAWS draws.

    Draws in which the statistic is NaN do not count. The rest is as for `Figure`.

    >>> figure = measured("x", "share", np.mean, [1.0, 0.0, 1.0, 1.0], bar=0.7)
    >>> figure.value, figure.low < 0.75 < figure.high, figure.n, figure.verdict
    (0.75, True, 4, 'holds')
    """
    arrays = [np.asarray(column) for column in columns]
    n = len(arrays[0])
    if not n:
        return Figure(part, name, math.nan, **{"note": "no such row", **more})
    drawn = np.random.default_rng(seed).integers(n, size=(DRAWS, n))
    draws = np.array([statistic(*(array[rows] for array in arrays)) for rows in drawn], np.float64)
    finite = draws[np.isfinite(draws)]
    low, high = np.quantile(finite, (0.025, 0.975)).tolist() if len(finite) else (math.nan, math.nan)
    return Figure(part, name, float(statistic(*arrays)), low, high, n, **more)


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Rank correlation of (N,) and (N,), ties at their mean rank; NaN where one of them is constant.

    >>> round(spearman([1, 2, 3, 4], [1, 4, 9, 9]), 3)
    0.949
    """
    if min(len(np.unique(each)) for each in (a, b)) < 2:
        return math.nan
    return float(spearmanr(a, b).statistic)


def f1(found: ArrayLike, true: ArrayLike) -> float:
    """F1 of booleans (N,) against the true ones; NaN where there is neither.

    >>> f1([True, True, False], [True, False, False]) == 2 / 3
    True
    """
    return float(f1_score(true, found, zero_division=math.nan))


def auroc(score: ArrayLike, positive: ArrayLike) -> float:
    """Probability that a positive row's score is above a negative one's, ties half; NaN without rows of both kinds.

    >>> auroc([0.9, 0.5, 0.5, 0.1], [True, True, False, False])
    0.875
    """
    return float(roc_auc_score(positive, score)) if len(np.unique(positive)) == 2 else math.nan


def ratio(a: Array, b: Array) -> float:
    """Mean of (N,) over mean of (N,), less 1.

    >>> ratio(np.array([2.0, 4.0]), np.array([1.0, 3.0]))
    0.5
    """
    return float(a.mean() / b.mean() - 1)


def worst(figures: Iterable[Figure]) -> list[Figure]:
    """Of figures of one part and name the worst, where one could not be measured that one, in the order of names."""
    groups: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        groups.setdefault((figure.part, figure.name), []).append(figure)
    return [
        min(group, key=lambda each: -math.inf if math.isnan(each.value) else each.better * each.value)
        for group in groups.values()
    ]


def markdown(figures: Iterable[Figure]) -> str:
    """A Markdown table, a row for each name; of several pools the worst is shown."""
    lines = ["| part | what | value | 95% | n | bar | | where |", "|---|---|---|---|---|---|---|---|"]
    for each in worst(figures):
        bar = "" if each.bar is None else f"{'≥' if each.better > 0 else '≤'} {each.bar:g}"
        where = ": ".join(filter(None, (each.pool and f"worst in {each.pool}", each.note)))
        digits = 3 if each.bar is None or each.bar >= 0.01 else 4
        value, low, high = (f"{number:.{digits}f}" for number in (each.value, each.low, each.high))
        cells = (each.part, each.name, value, f"{low} to {high}", f"{each.n:,}")
        lines.append("| " + " | ".join((*cells, bar, each.verdict, where)).replace("nan to nan", "–") + " |")
    return "\n".join(lines)
