"""Budgeted assignments against brute force, linear programming and values computed by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import coo_array

from router.errors import NoCandidateError, UsageError
from router.policy.budget import Assignment, best_within, cheapest_reaching, round_down, round_up

# Two queries, three candidates at 1, 2 and 4 USD. Steps: query 0 +.3 then +.1 a dollar, query 1 +.2 then +.05.
QUALITY = np.array([[0.1, 0.4, 0.6], [0.2, 0.4, 0.5]])
COST = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
ALL = np.ones((2, 3), bool)


def totals(found: Assignment, quality: np.ndarray, cost: np.ndarray) -> tuple[float, float]:
    rows = np.arange(len(quality))
    return float(quality[rows, found.choice].sum()), float(cost[rows, found.choice].sum())


@pytest.mark.parametrize(
    ("usd_per_query", "choice", "multiplier"),
    [
        (1.0, [0, 0], 0.3),
        (1.4, [0, 0], 0.3),
        (1.5, [1, 0], 0.2),
        (2.0, [1, 1], 0.1),
        (2.9, [1, 1], 0.1),
        (3.0, [2, 1], 0.05),
        (4.0, [2, 2], 0.0),
        (math.inf, [2, 2], 0.0),
    ],
)
def test_money_goes_where_a_dollar_buys_most_and_the_multiplier_is_what_the_next_would_buy(
    usd_per_query: float, choice: list[int], multiplier: float
) -> None:
    found = best_within(QUALITY, COST, ALL, 1000 * usd_per_query)
    assert found.choice.tolist() == choice
    assert found.multiplier == pytest.approx(multiplier)


def test_what_is_left_buys_a_lesser_step_further_on() -> None:
    quality = np.array([[0.0, 0.9], [0.0, 0.5], [0.0, 0.1]])
    cost = np.array([[0.0, 3.0], [0.0, 4.0], [0.0, 1.0]])
    found = best_within(quality, cost, np.ones((3, 2), bool), 1000 * 4 / 3)  # 4 dollars: 3, then 1, for the second no 4
    assert found.choice.tolist() == [1, 0, 1]
    assert found.multiplier == pytest.approx(0.125)
    assert found.weight.tolist() == pytest.approx([0.125, 0.125, 0.1])  # the third is worth it at .1 only


@pytest.mark.parametrize(
    ("at_least", "choice", "multiplier"),
    [
        (0.0, [0, 0], math.inf),
        (0.15, [0, 0], math.inf),
        (0.2, [1, 0], 0.3),
        (0.4, [1, 1], 0.2),
        (0.45, [2, 1], 0.1),
        (0.55, [2, 2], 0.05),
    ],
)
def test_the_cheapest_assignment_that_is_good_enough(at_least: float, choice: list[int], multiplier: float) -> None:
    found = cheapest_reaching(QUALITY, COST, ALL, at_least)
    assert found.choice.tolist() == choice
    assert found.multiplier == pytest.approx(multiplier)


def test_what_was_bought_and_is_not_needed_in_the_end_is_given_back() -> None:
    quality, cost = np.array([[0.0, 0.1], [0.0, 0.6]]), np.array([[0.0, 1.0], [0.0, 10.0]])
    assert cheapest_reaching(quality, cost, np.ones((2, 2), bool), 0.3).choice.tolist() == [0, 1]


# Properties, on small random instances


def instances() -> list[Any]:
    """Random ones, and ones made of few values: ties in cost, quality and slope; candidates left out."""
    cases = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        size = (int(generator.integers(1, 5)), int(generator.integers(1, 5)))
        if seed % 3:
            quality, cost = generator.uniform(size=size), generator.lognormal(-7, 2, size)
        else:
            quality, cost = generator.integers(0, 5, size) / 4, generator.integers(0, 4, size) / 1024
        admitted = generator.uniform(size=size) < 0.8
        admitted[np.arange(size[0]), generator.integers(0, size[1], size[0])] = True
        cases.append(pytest.param(quality, cost, admitted, generator, id=f"seed{seed}"))
    return cases


def every_assignment(quality: np.ndarray, cost: np.ndarray, admitted: np.ndarray) -> np.ndarray:
    """(n, 2) total quality and cost of each."""
    rows = np.arange(len(quality))
    choices = itertools.product(*(np.flatnonzero(row) for row in admitted))
    return np.array([(quality[rows, list(each)].sum(), cost[rows, list(each)].sum()) for each in choices])


def relaxation(quality: np.ndarray, cost: np.ndarray, admitted: np.ndarray, limit: float) -> float:
    """The optimum of the linear relaxation, by scipy's solver."""
    rows, columns = np.nonzero(admitted)
    one_each = coo_array((np.ones(len(rows)), (rows, np.arange(len(rows)))))
    price = cost[rows, columns]
    scale = price.max() or 1.0  # the solver's tolerance is absolute
    done = linprog(-quality[rows, columns], [price / scale], [limit / scale], one_each, np.ones(len(quality)), (0, 1))
    assert done.success, done.message
    return float(-done.fun)


def largest_step(values: np.ndarray, admitted: np.ndarray) -> float:
    return max(float(np.ptp(row[mask])) for row, mask in zip(values, admitted, strict=True))


@pytest.mark.parametrize(("quality", "cost", "admitted", "generator"), instances())
def test_a_budget_is_never_exceeded_and_the_result_is_within_one_step_of_the_best(
    quality: np.ndarray, cost: np.ndarray, admitted: np.ndarray, generator: np.random.Generator
) -> None:
    every, n = every_assignment(quality, cost, admitted), len(quality)
    least, most = every[:, 1].min(), every[:, 1].max()
    for limit in (least, most, *generator.uniform(least, most, 4)):
        got, spent = totals(found := best_within(quality, cost, admitted, 1000 * limit / n), quality, cost)
        assert admitted[np.arange(n), found.choice].all()
        assert spent <= limit * (1 + 1e-12)
        best = every[every[:, 1] <= limit * (1 + 1e-12), 0].max()
        bound = relaxation(quality, cost, admitted, limit)
        assert got <= best + 1e-12 and best <= bound + 1e-6
        assert got >= bound - largest_step(quality, admitted) - 1e-6
        best_of_its_query(found, quality, cost, admitted)
        rows = np.arange(n)
        steps = cost - cost[rows, found.choice, None]
        better = admitted & (quality > quality[rows, found.choice, None])
        fits = better & (steps <= (limit - spent) * (1 - 1e-9))
        for row, column in np.argwhere(fits):  # whatever else fits lies below the hull: it is best at no weight
            assert not on_hull(quality[row], cost[row], admitted[row], column)


@pytest.mark.parametrize(("quality", "cost", "admitted", "generator"), instances())
def test_a_quality_is_always_reached_within_one_step_of_the_least_cost(
    quality: np.ndarray, cost: np.ndarray, admitted: np.ndarray, generator: np.random.Generator
) -> None:
    every, n = every_assignment(quality, cost, admitted), len(quality)
    for target in (every[:, 0].max(), *generator.uniform(every[:, 0].min(), every[:, 0].max(), 4)):
        got, spent = totals(found := cheapest_reaching(quality, cost, admitted, target / n), quality, cost)
        assert got >= target * (1 - 1e-11)
        cheapest = every[every[:, 0] >= target * (1 - 1e-12), 1].min()
        assert cheapest * (1 - 1e-12) <= spent <= cheapest + largest_step(cost, admitted) + 1e-12
        best_of_its_query(found, quality, cost, admitted)


def best_of_its_query(found: Assignment, quality: np.ndarray, cost: np.ndarray, admitted: np.ndarray) -> None:
    """Every choice has the greatest utility of its query at the weight that the assignment names."""
    for row, (choice, weight) in enumerate(zip(found.choice, found.weight, strict=True)):
        value = quality[row] - weight * cost[row] if math.isfinite(weight) else -cost[row]
        scale = 1e-9 * (1 + abs(weight) * cost[row].max() if math.isfinite(weight) else 1)
        assert value[choice] >= value[admitted[row]].max() - scale


def on_hull(quality: np.ndarray, cost: np.ndarray, admitted: np.ndarray, column: int) -> bool:
    """Whether some weight makes the candidate strictly better than every cheaper and every better one."""
    others = admitted & (np.arange(len(cost)) != column)
    low, high = 0.0, math.inf
    for other in np.flatnonzero(others):
        more_cost, more = cost[column] - cost[other], quality[column] - quality[other]
        if more_cost > 0:
            high = min(high, more / more_cost)
        elif more_cost < 0:
            low = max(low, more / more_cost)
        elif more < 0:
            return False
    return high > low * (1 + 1e-9)


@pytest.mark.parametrize(("quality", "cost", "admitted", "generator"), instances()[:20])
def test_more_money_never_buys_less_where_the_multiplier_decides(
    quality: np.ndarray, cost: np.ndarray, admitted: np.ndarray, generator: np.random.Generator
) -> None:
    least, most = every_assignment(quality, cost, admitted)[:, 1].min(), cost.sum()
    limits = np.sort(generator.uniform(least, most, 8)) / len(quality)
    multipliers = [best_within(quality, cost, admitted, 1000 * limit).multiplier for limit in limits]
    assert multipliers == sorted(multipliers, reverse=True)


def test_permuting_queries_and_candidates_permutes_the_choice() -> None:
    generator = np.random.default_rng(0)
    quality, cost, admitted = generator.uniform(size=(6, 5)), generator.uniform(size=(6, 5)), np.ones((6, 5), bool)
    rows, columns = generator.permutation(6), generator.permutation(5)
    before = best_within(quality, cost, admitted, 300.0)
    after = best_within(quality[rows][:, columns], cost[rows][:, columns], admitted, 300.0)
    assert columns[after.choice].tolist() == before.choice[rows].tolist()
    assert after.multiplier == before.multiplier


# Edges


@pytest.mark.parametrize("solve", [best_within, cheapest_reaching])
def test_one_query_and_one_candidate(solve: Any) -> None:
    found = solve(
        np.array([[0.5]]), np.array([[0.001]]), np.ones((1, 1), bool), 0.5 if solve is cheapest_reaching else 1
    )
    assert found.choice.tolist() == [0]


def test_where_all_cost_the_same_the_best_is_taken_and_money_is_worth_nothing() -> None:
    found = best_within(QUALITY, np.ones((2, 3)), ALL, 1000.0)
    assert (found.choice.tolist(), found.multiplier, found.weight.tolist()) == ([2, 2], 0.0, [0.0, 0.0])


def test_equal_candidates_are_one_and_of_equally_good_ones_the_cheapest_is_taken() -> None:
    assert best_within(np.full((1, 3), 0.5), np.array([[2.0, 1.0, 3.0]]), ALL[:1], 9000.0).choice.tolist() == [1]
    assert best_within(np.full((1, 3), 0.5), np.ones((1, 3)), ALL[:1], 1000.0).choice.tolist() == [0]


def test_no_money_buys_what_is_free_and_nothing_else() -> None:
    cost = np.array([[0.0, 0.0, 4.0], [0.0, 2.0, 4.0]])
    assert best_within(QUALITY, cost, ALL, 0.0).choice.tolist() == [1, 0]
    with pytest.raises(UsageError, match="the least possible here is 1000"):
        best_within(QUALITY, COST, ALL, 0.0)


def test_infinite_and_missing_numbers_are_no_candidates() -> None:
    quality = np.array([[0.1, 0.4, np.nan], [0.2, 0.4, 0.5]])
    cost = np.array([[1.0, 2.0, 4.0], [np.inf, 2.0, 4.0]])
    assert best_within(quality, cost, ALL, math.inf).choice.tolist() == [1, 2]
    assert best_within(quality, cost, ALL, 1500.0).choice.tolist() == [0, 1]
    with pytest.raises(NoCandidateError, match="query 2 of the batch has no candidate of finite cost"):
        best_within(QUALITY, np.array([[1.0, 2.0, 4.0], [np.inf] * 3]), ALL, 1.0)
    cheapest = np.array([[np.nan, 0.4, 0.5]])
    assert best_within(cheapest, COST[:1], ALL[:1], 2000.0).choice.tolist() == [1]
    cost = np.array([[0.0, 5e-324, 1.0]])  # a slope beyond all numbers
    assert best_within(QUALITY[:1], cost, ALL[:1], 0.0).choice.tolist() == [0]


def test_who_is_not_admitted_is_not_chosen() -> None:
    admitted = np.array([[True, False, True], [False, True, False]])
    assert best_within(QUALITY, COST, admitted, math.inf).choice.tolist() == [2, 1]
    assert cheapest_reaching(QUALITY, COST, admitted, 0.0).choice.tolist() == [0, 1]


def test_the_least_budget_and_the_greatest_quality_that_a_message_names_can_be_had() -> None:
    cost = COST / 1234.567
    with pytest.raises(UsageError, match=r"a budget of 0\.5 USD .* too small: .* the least possible here is") as small:
        best_within(QUALITY, cost, ALL, 0.5)
    assert best_within(QUALITY, cost, ALL, float(str(small.value).split()[-1])).choice.tolist() == [0, 0]
    quality = QUALITY / 1.2345
    with pytest.raises(UsageError, match=r"at least 0\.9 is out of reach: .* the greatest possible here is") as great:
        cheapest_reaching(quality, COST, ALL, 0.9)
    assert cheapest_reaching(quality, COST, ALL, float(str(great.value).split()[-1])).choice.tolist() == [2, 2]


@pytest.mark.parametrize("budget", [-1.0, math.nan])
def test_a_budget_that_is_no_amount_is_refused(budget: float) -> None:
    with pytest.raises(UsageError, match="must be a number of at least 0 USD per 1,000 queries, got"):
        best_within(QUALITY, COST, ALL, budget)


@pytest.mark.parametrize("quality", [-0.1, 1.1, math.nan])
def test_a_quality_that_is_no_probability_is_refused(quality: float) -> None:
    with pytest.raises(UsageError, match="must be a number from 0 to 1, got"):
        cheapest_reaching(QUALITY, COST, ALL, quality)


def test_rounded_figures_stay_on_their_side() -> None:
    for value in np.random.default_rng(0).lognormal(-3, 3, 200):
        assert float(round_down(value)) <= value * (1 + 1e-12)
        assert float(round_up(value)) >= value * (1 - 1e-12)


def test_a_large_batch_is_quick_and_tight() -> None:
    generator = np.random.default_rng(1)
    quality, cost = generator.uniform(size=(2000, 28)), generator.lognormal(-8, 1.5, (2000, 28))
    found = best_within(quality, cost, np.ones((2000, 28), bool), 0.2)
    got, spent = totals(found, quality, cost)
    assert 0.2 * 2000 / 1000 * 0.999 < spent <= 0.2 * 2000 / 1000
    assert got > quality[np.arange(2000), cost.argmin(axis=1)].sum() * 1.3
