"""Exact budgets for a batch: the best answers within a budget, or the cheapest answers of a given quality.

Maximise total quality subject to total cost <= budget, one candidate a query. The dual of its linear relaxation has
one multiplier, what a US dollar is worth in quality; each query's choice changes at a few values of it, its
break-points. All of them are sorted, so the multiplier is found exactly, without bisection. Pure numpy; knows no names.
Axes: B queries, M candidates, S steps, one a break-point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import NoCandidateError, UsageError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
ROUNDING = 1e-12  # relative: sums of the same numbers in another order differ by as much


@dataclass(frozen=True)
class Assignment:
    """One candidate for each query, and the cost weights at which it is the best choice."""

    choice: NDArray[np.intp]  # (B,)
    multiplier: float  # quality per USD of the next dollar, or of the last one spent; 0 where nothing is left to buy
    weight: Array  # (B,) the cost weight nearest to `multiplier` at which the choice is its query's best


def best_within(quality: Array, cost: Array, admitted: Mask, budget_usd_per_1k: float) -> Assignment:
    """The greatest total `quality` (B, M) whose mean `cost` (B, M), USD a query, is within the budget per 1,000.

    Steps are bought by quality per dollar; one that no longer fits is left out and cheaper ones further on may still
    fit, so at the end no further step of any query fits. Total quality is within one step's of the relaxation's
    optimum, hence of the best there is. Raises UsageError where even the cheapest assignment costs more.

    >>> quality, cost = np.array([[0.5, 0.9], [0.5, 0.6]]), np.array([[0.001, 0.003], [0.001, 0.003]])
    >>> best_within(quality, cost, np.ones((2, 2), bool), budget_usd_per_1k=2.0).choice.tolist()
    [1, 0]
    """
    if not budget_usd_per_1k >= 0:
        raise UsageError(f"the budget must be a number of at least 0 USD per 1,000 queries, got {budget_usd_per_1k!r}")
    steps = _Steps.of(quality, cost, admitted)
    least, limit = steps.start_cost.sum(), budget_usd_per_1k / 1000 * len(quality)
    if least > limit * (1 + ROUNDING):
        raise UsageError(
            f"a budget of {budget_usd_per_1k:g} USD per 1,000 queries is too small: even the cheapest models are "
            f"expected to cost more; the least possible here is {round_up(1000 * least / len(quality))}"
        )
    left, taken, full = limit - least, np.zeros(len(steps.row), bool), np.zeros(len(quality), bool)
    for step, (row, price) in enumerate(zip(steps.row.tolist(), steps.cost.tolist(), strict=True)):
        if full[row] or price > left:
            full[row] = True  # the query's next step starts where this one ends
        else:
            taken[step], left = True, left - price
    missed = steps.slope[~taken]
    return steps.assignment(taken, float(missed[0]) if len(missed) else 0.0)


def cheapest_reaching(quality: Array, cost: Array, admitted: Mask, quality_at_least: float) -> Assignment:
    """The least total `cost` (B, M) whose mean `quality` (B, M) is at least the given one.

    Steps are bought by quality per dollar until it is reached; then, from the last to the first, those are given back
    without which it is still reached. Total cost is within one step's of the relaxation's optimum. Raises UsageError
    where the best models do not reach it.

    >>> quality, cost = np.array([[0.5, 0.9], [0.5, 0.6]]), np.array([[0.001, 0.003], [0.001, 0.003]])
    >>> cheapest_reaching(quality, cost, np.ones((2, 2), bool), quality_at_least=0.6).choice.tolist()
    [1, 0]
    """
    if not 0 <= quality_at_least <= 1:
        raise UsageError(f"the least quality must be a number from 0 to 1, got {quality_at_least!r}")
    steps = _Steps.of(quality, cost, admitted)
    start, target = steps.start_quality.sum(), quality_at_least * len(quality) * (1 - ROUNDING)
    greatest = start + steps.quality.sum()
    if greatest < target:
        raise UsageError(
            f"a mean quality of at least {quality_at_least:g} is out of reach: the best models are predicted to have "
            f"less; the greatest possible here is {round_down(greatest / len(quality))}"
        )
    reached = np.concatenate([[start], start + steps.quality.cumsum()])
    count = min(int((reached < target).sum()), len(steps.row))
    taken, spare, kept = np.arange(len(steps.row)) < count, reached[count] - target, np.zeros(len(quality), bool)
    for step in range(count - 1, -1, -1):
        row = steps.row[step]
        if kept[row] or steps.quality[step] > spare:
            kept[row] = True  # what the query bought before leads up to this step
        else:
            taken[step], spare = False, spare - steps.quality[step]
    return steps.assignment(taken, float(steps.slope[count - 1]) if count else math.inf)


@dataclass(frozen=True)
class _Steps:
    """The ways up from every query's cheapest candidate along its cost-quality hull, most quality per dollar first."""

    start: NDArray[np.intp]  # (B,) the cheapest candidate, of equally cheap ones the best
    start_cost: Array  # (B,)
    start_quality: Array  # (B,)
    row: NDArray[np.intp]  # (S,) whose step it is; a query's own steps stand in their order
    to: NDArray[np.intp]  # (S,) the candidate it leads to
    cost: Array  # (S,) what it costs more than the one before, above 0
    quality: Array  # (S,) what it gives more, above 0
    slope: Array  # (S,) quality per USD, descending

    @classmethod
    def of(cls, quality: Array, cost: Array, admitted: Mask) -> _Steps:
        """All steps of a batch; all rows climb at once, each to the candidate of steepest ascent (Jarvis' march)."""
        admitted = admitted & np.isfinite(cost) & np.isfinite(quality)
        if not admitted.any(axis=1).all():
            row = int(np.flatnonzero(~admitted.any(axis=1))[0])
            raise NoCandidateError(f"query {row + 1} of the batch has no candidate of finite cost and quality")
        rows = np.arange(len(quality))
        price, worth = np.where(admitted, cost, np.inf), np.where(admitted, quality, -np.inf)
        start = np.where(price == price.min(axis=1, keepdims=True), worth, -np.inf).argmax(axis=1)
        at, before = start.copy(), np.full(len(rows), np.inf)
        found = [(rows[:0], start[:0], before[:0], before[:0], before[:0])]
        while len(rows):
            gain_cost, gain = price[rows] - price[rows, at[rows], None], worth[rows] - worth[rows, at[rows], None]
            rows, to, step_cost, step_quality, slope = _steepest(rows, gain_cost, gain)
            # Descending in every row, whatever rounding does to three candidates that are nearly collinear.
            before[rows] = slope = np.minimum(before[rows], slope)
            at[rows] = to
            found.append((rows, to, step_cost, step_quality, slope))
        parts: list[NDArray[Any]] = [np.concatenate(column) for column in zip(*found, strict=True)]
        order, each = np.argsort(-parts[4], kind="stable"), np.arange(len(cost))
        return cls(start, cost[each, start], quality[each, start], *(part[order] for part in parts))

    def assignment(self, taken: Mask, multiplier: float) -> Assignment:
        """Assignment that the `taken` steps (S,) lead to, and the cost weights at which it is the best."""
        choice, low, high = self.start.copy(), np.zeros(len(self.start)), np.full(len(self.start), np.inf)
        for step in np.flatnonzero(taken):
            choice[self.row[step]], high[self.row[step]] = self.to[step], self.slope[step]
        for step in np.flatnonzero(~taken)[::-1]:
            low[self.row[step]] = self.slope[step]
        return Assignment(choice, multiplier, np.clip(multiplier, low, high))


def _steepest(
    rows: NDArray[np.intp], cost: Array, quality: Array
) -> tuple[NDArray[np.intp], NDArray[np.intp], Array, Array, Array]:
    """Steepest step of each row that can climb: row, candidate, and its cost, quality and slope above the row."""
    upward = (cost > 0) & (quality > 0) & np.isfinite(cost)
    climbing = upward.any(axis=1)
    rows, cost, quality, upward = rows[climbing], cost[climbing], quality[climbing], upward[climbing]
    with np.errstate(over="ignore"):
        slope = np.where(upward, quality, -1.0) / np.where(upward, cost, 1.0)
    steepest = slope.max(axis=1)
    to = np.where(slope == steepest[:, None], cost, -1.0).argmax(axis=1)  # of collinear candidates the furthest
    each = np.arange(len(rows))
    return rows, to, cost[each, to], quality[each, to], steepest


def round_up(value: float) -> str:
    """Four significant digits, never below `value`: a budget that a message may recommend.

    >>> round_up(0.0123401), round_up(2.0), round_up(0.0)
    ('0.01235', '2', '0')
    """
    return _rounded(value, math.ceil)


def round_down(value: float) -> str:
    """Four significant digits, never above `value`.

    >>> round_down(0.87659)
    '0.8765'
    """
    return _rounded(value, math.floor)


def _rounded(value: float, towards: Callable[[float], int]) -> str:
    if not value:
        return "0"
    scale = 10.0 ** (3 - math.floor(math.log10(value)))
    return f"{towards(value * scale) / scale:.4g}"
