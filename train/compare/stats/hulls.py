"""Cost-quality hulls of many draws at once: `upper_hull` and `Hull` of `router.evaluation.metrics`, vectorised.

Every number equals theirs up to rounding. Knows no router and no bootstrap.
Axes: R draws, P points, V vertices (rows shorter than V repeat their last vertex), G grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.evaluation.metrics import Array


@dataclass(frozen=True)
class Hulls:
    """R non-decreasing concave frontiers, each flat to the right of its last vertex."""

    cost: Array  # (R, V) USD per query
    quality: Array  # (R, V) mean score

    def heights(self, cost: Array) -> Array:
        """Qualities (R, G) reachable at mean costs (R, G); NaN to the left of a hull's first vertex."""
        return np.where(cost < self.cost[:, :1], np.nan, interpolate(cost, self.cost, self.quality))

    def cost_of(self, quality: Array) -> Array:
        """Least mean cost (R,) at which `quality` (R,) is reached; NaN where a hull never reaches it."""
        found = interpolate(quality[:, None], self.quality, self.cost)[:, 0]
        return np.where(quality > self.quality[:, -1], np.nan, found)

    def mean_heights(self, low: Array, high: Array, log_cost: bool = False) -> Array:
        """Mean quality (R,) for costs from `low` to `high` (R,), uniform in cost or (`log_cost`) in its logarithm.

        On a logarithmic axis a range that is empty or starts at 0 gives NaN.

        >>> hulls = upper_hulls(np.array([[1.0, 3.0], [1.0, 2.0]]), np.array([[0.4, 0.8], [0.4, 0.2]]))
        >>> hulls.mean_heights(np.array([1.0, 1.0]), np.array([5.0, 5.0])).round(6).tolist()
        [0.7, 0.4]
        """
        ends = np.stack([low, high], axis=1)
        x = np.concatenate([ends[:, :1], np.clip(self.cost, ends[:, :1], ends[:, 1:]), ends[:, 1:]], axis=1)
        y = interpolate(x, self.cost, self.quality)
        width, wide = np.diff(x), high > low
        if log_cost:
            usable = wide & (low > 0)
            x = np.where(usable[:, None], x, 1.0)
            slope = np.divide(np.diff(y), width, out=np.zeros_like(width), where=width > 0)
            area = (y[:, :-1] - slope * x[:, :-1]) * np.log(x[:, 1:] / x[:, :-1]) + slope * width
            span = np.log(np.where(usable, high, np.e) / np.where(usable, low, 1.0))
            return np.where(usable, area.sum(axis=1) / span, np.nan)
        area = (width * (y[:, 1:] + y[:, :-1]) / 2).sum(axis=1)
        return np.where(wide, area / np.where(wide, high - low, 1.0), y[:, 0])


def upper_hulls(cost: Array, quality: Array) -> Hulls:
    """The non-decreasing concave hull of each row's points (R, P) (USD per query, mean score).

    A monotone chain that walks the points of all rows in step, each row in its own order of cost.

    >>> upper_hulls(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[0.1, 0.2, 0.9, 0.5]])).cost.tolist()
    [[1.0, 3.0]]
    """
    order = np.lexsort((-quality, cost), axis=-1)
    xs, ys = np.take_along_axis(cost, order, axis=1), np.take_along_axis(quality, order, axis=1)
    rows = np.arange(len(cost))
    chain_x, chain_y = np.empty_like(xs), np.empty_like(ys)
    chain_x[:, 0], chain_y[:, 0] = xs[:, 0], ys[:, 0]
    size = np.ones(len(cost), np.intp)
    for x, y in zip(xs.T[1:], ys.T[1:], strict=True):
        rising = rows[y > chain_y[rows, size - 1]]
        _pop(chain_x, chain_y, size, rising, x, y)
        chain_x[rising, size[rising]], chain_y[rising, size[rising]] = x[rising], y[rising]
        size[rising] += 1
    vertices = np.minimum(np.arange(size.max()), size[:, None] - 1)
    return Hulls(np.take_along_axis(chain_x, vertices, axis=1), np.take_along_axis(chain_y, vertices, axis=1))


def _pop(chain_x: Array, chain_y: Array, size: NDArray[np.intp], rows: NDArray[np.intp], x: Array, y: Array) -> None:
    """Shorten the chains of `rows` until their last vertex lies above the chord to the new point (x, y) (R,)."""
    rows = rows[size[rows] >= 2]
    while len(rows):
        last = size[rows] - 1
        x1, y1, x2, y2 = chain_x[rows, last - 1], chain_y[rows, last - 1], chain_x[rows, last], chain_y[rows, last]
        rows = rows[(y2 - y1) * (x[rows] - x1) <= (y[rows] - y1) * (x2 - x1)]
        size[rows] -= 1
        rows = rows[size[rows] >= 2]


def interpolate(at: Array, x: Array, y: Array) -> Array:
    """`np.interp` of each row: values (R, G) at `at` (R, G) of the lines through (x, y) (R, V), x not decreasing.

    >>> interpolate(np.array([[0.0, 1.5, 9.0]]), np.array([[1.0, 2.0]]), np.array([[0.2, 0.4]])).round(6).tolist()
    [[0.2, 0.3, 0.4]]
    """
    last = x.shape[1] - 1
    left = np.clip((x[:, None, :] <= at[:, :, None]).sum(axis=2) - 1, 0, last)
    right = np.minimum(left + 1, last)
    x0, x1 = np.take_along_axis(x, left, axis=1), np.take_along_axis(x, right, axis=1)
    y0, y1 = np.take_along_axis(y, left, axis=1), np.take_along_axis(y, right, axis=1)
    share = np.divide(at - x0, x1 - x0, out=np.zeros_like(at), where=x1 > x0)
    return y0 + np.clip(share, 0.0, 1.0) * (y1 - y0)
