"""Cost-quality hulls of many draws: a `router.evaluation.metrics.Hull` for each, with NaN where that has None.

Knows no router and no bootstrap. Axes: R draws, P points, G grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.evaluation.metrics import Array, Hull, upper_hull


@dataclass(frozen=True)
class Hulls:
    """R non-decreasing concave frontiers, each flat to the right of its last vertex."""

    each: tuple[Hull, ...]

    def heights(self, cost: Array) -> Array:
        """Qualities (R, G) reachable at mean costs (R, G); NaN to the left of a hull's first vertex."""
        rows = zip(self.each, cost, strict=True)
        return np.stack([np.where(x < h.cost[0], np.nan, np.interp(x, h.cost, h.quality)) for h, x in rows])

    def cost_of(self, quality: Array) -> Array:
        """Least mean cost (R,) at which `quality` (R,) is reached; NaN where a hull never reaches it."""
        return np.array([hull.cost_of(y) for hull, y in zip(self.each, quality.tolist(), strict=True)], float)

    def mean_heights(self, low: Array, high: Array, log_cost: bool = False) -> Array:
        """Mean quality (R,) for costs from `low` to `high` (R,), uniform in cost or (`log_cost`) in its logarithm.

        On a logarithmic axis a range that is empty or starts at 0 gives NaN.

        >>> hulls = upper_hulls(np.array([[1.0, 3.0], [1.0, 2.0]]), np.array([[0.4, 0.8], [0.4, 0.2]]))
        >>> hulls.mean_heights(np.array([1.0, 1.0]), np.array([5.0, 5.0])).round(6).tolist()
        [0.7, 0.4]
        """
        rows = zip(self.each, low.tolist(), high.tolist(), strict=True)
        return np.array([np.nan if log_cost and not b > a > 0 else h.mean_height(a, b, log_cost) for h, a, b in rows])


def upper_hulls(cost: Array, quality: Array) -> Hulls:
    """The non-decreasing concave hull of each row's points (R, P) (USD per query, mean score)."""
    return Hulls(tuple(upper_hull(*row) for row in zip(cost, quality, strict=True)))
