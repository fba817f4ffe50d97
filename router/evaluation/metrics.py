"""Metrics of routers: cost-quality hulls, AIQ, calibration, in pure numpy on float64 arrays.

A router is a matrix of predicted qualities and one of predicted costs. Definitions: docs/method.md section 4.
Axes: B queries, M candidates, P points of a curve, V vertices of a hull.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# 0 and 100 values log-spaced from 1e-3 to 1e2, in units of 1 / (cost of the best single model - cost of the cheapest).
CURVE_WEIGHTS: Array = np.concatenate([[0.0], np.logspace(-3, 2, 100)])


@dataclass(frozen=True)
class Hull:
    """A non-decreasing concave cost-quality frontier: vertices sorted by cost, flat to the right of the last."""

    cost: Array  # (V,) USD per query, strictly increasing
    quality: Array  # (V,) mean score, strictly increasing

    def height(self, cost: float) -> float | None:
        """Quality at a mean cost of `cost` USD; None to the left of the cheapest vertex."""
        return None if cost < self.cost[0] else float(np.interp(cost, self.cost, self.quality))

    def cost_of(self, quality: float) -> float | None:
        """Least mean cost in USD of `quality`; None if the hull does not reach it."""
        if quality > self.quality[-1]:
            return None
        if quality <= self.quality[0]:
            return float(self.cost[0])
        return float(np.interp(quality, self.quality, self.cost))

    def mean_height(self, low: float, high: float, log_cost: bool = False) -> float:
        """Mean quality for costs in [low, high] USD, uniformly in cost or (`log_cost`) in its logarithm.

        Left of the first vertex the quality is that of the first vertex. A range of zero width gives the quality there.

        >>> hull = upper_hull(np.array([1.0, 3.0]), np.array([0.4, 0.8]))
        >>> round(hull.mean_height(1.0, 3.0), 6), round(hull.mean_height(1.0, 5.0), 6)
        (0.6, 0.7)
        """
        if not high > low:
            return float(np.interp(low, self.cost, self.quality))
        x = np.concatenate([[low], self.cost[(self.cost > low) & (self.cost < high)], [high]])
        y = np.interp(x, self.cost, self.quality)
        if not log_cost:
            return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) / (high - low))
        if low <= 0:
            raise ValueError(f"a logarithmic cost axis needs costs above 0, got {low}")
        slope = np.diff(y) / np.diff(x)
        area = (y[:-1] - slope * x[:-1]) * np.log(x[1:] / x[:-1]) + slope * np.diff(x)
        return float(np.sum(area) / math.log(high / low))


def upper_hull(cost: Array, quality: Array) -> Hull:
    """The non-decreasing concave hull of points (P,) (USD per query, mean score).

    >>> upper_hull(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, 0.2, 0.9, 0.5])).cost.tolist()
    [1.0, 3.0]
    """
    vertices: list[tuple[float, float]] = []
    for x, y in sorted(zip(cost.tolist(), quality.tolist(), strict=True), key=lambda point: (point[0], -point[1])):
        if vertices and y <= vertices[-1][1]:
            continue
        while len(vertices) >= 2:
            (x1, y1), (x2, y2) = vertices[-2:]
            if (y2 - y1) * (x - x1) > (y - y1) * (x2 - x1):
                break
            vertices.pop()
        vertices.append((x, y))
    return Hull(np.array([v[0] for v in vertices]), np.array([v[1] for v in vertices]))


def choose(quality: Array, cost: Array, weight: float) -> NDArray[np.intp]:
    """Index (B,) of the candidate with the greatest predicted utility `quality - weight * cost`; first one on a tie."""
    return np.argmax(quality - weight * cost, axis=1)


def policy_points(
    quality: Array, cost: Array, score: Array, realised: Array, cost_range: float
) -> tuple[Array, Array, NDArray[np.intp]]:
    """One router along the grid of cost weights: mean realised cost (P,), mean score (P,), choices (P, B).

    Choices depend on the predictions `quality` and `cost` (B, M) alone; `score` and `realised` (B, M) judge them.
    """
    rows = np.arange(len(score))
    choices = np.stack([choose(quality, cost, w / cost_range) for w in CURVE_WEIGHTS])
    return realised[rows, choices].mean(axis=1), score[rows, choices].mean(axis=1), choices


def expected_calibration_error(predicted: Array, observed: Array, bins: int = 10) -> float:
    """Bias-corrected ECE of probabilities (B,) against scores (B,) in [0, 1], in equal-mass bins.

    The plug-in value sum_k w_k |mean predicted - mean observed| is too large because of sampling noise. As in Kumar et
    al. (Verified Uncertainty Calibration, 1909.10155) the noise is estimated per bin as a normal with the bin's
    standard error, here with the closed-form mean of the folded normal, and subtracted. The result is at least 0.

    >>> round(expected_calibration_error(np.full(1000, 0.7), np.r_[np.ones(500), np.zeros(500)], bins=1), 3)
    0.2
    """
    order = np.argsort(predicted, kind="stable")
    total = 0.0
    for part in np.array_split(order, min(bins, max(1, len(order) // 2))):
        gap = abs(float(predicted[part].mean() - observed[part].mean()))
        standard_error = float(observed[part].std(ddof=1)) / math.sqrt(len(part)) if len(part) > 1 else 0.0
        folded = gap
        if standard_error > 0:
            z = gap / standard_error
            folded = standard_error * math.sqrt(2 / math.pi) * math.exp(-z * z / 2) + gap * math.erf(z / math.sqrt(2))
        total += len(part) / len(order) * (2 * gap - folded)
    return max(0.0, total)


def brier(predicted: Array, observed: Array) -> float:
    """Mean squared difference of probabilities (B,) and scores (B,).

    >>> brier(np.array([1.0, 0.5]), np.array([1.0, 0.0]))
    0.125
    """
    return float(np.mean((predicted - observed) ** 2))


@dataclass(frozen=True)
class Report:
    """All figures that `router evaluate` prints; qualities are mean scores, costs are in USD per query."""

    n: int
    random: float
    best_single: float
    quality: float  # at dial 0
    oracle: float
    gap_closed: float | None  # (quality - best single) / (oracle - best single); None without a gap
    aiq: float
    aiq_zero: float
    aiq_log_cost: float | None  # None if the cheapest model is free
    quality_at_half_cost: float | None  # None if no point costs half of the best single model or less
    cost_ratio_at_best_single: float | None  # None if its quality is not reached
    ece: float
    brier: float
    brier_constant: float


def hulls(
    quality: Array, cost: Array, score: Array, realised: Array, best_single: int, cheapest: int
) -> tuple[Hull, Hull]:
    """The router's hull (policy curve and the cheapest model) and the Zero router's (all single models)."""
    single_cost, single_quality = realised.mean(axis=0), score.mean(axis=0)
    low, high = float(single_cost[cheapest]), float(single_cost[best_single])
    # If the best single model is also the cheapest, the range is empty and its cost is the unit.
    unit = high - low if high > low else high or 1.0
    points_cost, points_quality, _ = policy_points(quality, cost, score, realised, unit)
    ours = upper_hull(np.append(points_cost, low), np.append(points_quality, single_quality[cheapest]))
    return ours, upper_hull(single_cost, single_quality)


def evaluate(quality: Array, cost: Array, score: Array, realised: Array, best_single: int, cheapest: int) -> Report:
    """Judge predictions (B, M) against outcomes (B, M); `best_single` and `cheapest` are columns chosen on train.

    >>> score = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> cost = np.array([[1.0, 3.0], [1.0, 3.0]])
    >>> report = evaluate(score, cost, score, cost, best_single=1, cheapest=0)
    >>> report.quality, report.oracle, report.gap_closed
    (1.0, 1.0, 1.0)
    """
    rows = np.arange(len(score))
    low, high = float(realised[:, cheapest].mean()), float(realised[:, best_single].mean())
    best = float(score[:, best_single].mean())
    hull, zero = hulls(quality, cost, score, realised, best_single, cheapest)
    oracle = float(score.max(axis=1).mean())
    chosen = choose(quality, cost, 0.0)
    predicted, observed = quality[rows, chosen], score[rows, chosen]
    reached = hull.cost_of(best)
    return Report(
        n=len(score),
        random=float(score.mean()),
        best_single=best,
        quality=float(observed.mean()),
        oracle=oracle,
        gap_closed=float((observed.mean() - best) / (oracle - best)) if oracle > best else None,
        aiq=hull.mean_height(low, high),
        aiq_zero=zero.mean_height(low, high),
        aiq_log_cost=hull.mean_height(low, high, log_cost=True) if low > 0 else None,
        quality_at_half_cost=hull.height(high / 2),
        cost_ratio_at_best_single=None if reached is None or high <= 0 else reached / high,
        ece=expected_calibration_error(predicted, observed),
        brier=brier(predicted, observed),
        brier_constant=brier(np.full_like(observed, observed.mean()), observed),
    )
