"""From a budget to a dial by what validation measured: hand-computed tables, and the choices of the router itself."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from router.errors import CheckpointError, PoolError, UsageError
from router.policy.constraints import cost_weights, rank
from router.policy.goals import (
    DIALS,
    DialTable,
    dial_choices,
    find_table,
    fingerprint,
    measure_dials,
    tables_from_json,
    tables_to_json,
)
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool

TABLE = DialTable("abc", 40, (0.0, 2.5, 5.0, 10.0), (4.0, 2.0, 2.0, 0.5), (0.8, 0.7, 0.7, 0.4), (0.75, 0.76, 0.7, 0.5))
POOL = Pool(
    "pair", (Candidate(ModelFacts("a", 1.0, 2.0), System("a", "p")), Candidate(ModelFacts("b", 3.0, 4.0), None)), 0.5
)


@pytest.mark.parametrize(
    ("budget", "dial"), [(0.5, 10.0), (1.99, 10.0), (2.0, 2.5), (3.0, 2.5), (4.0, 0.0), (9.9, 0.0)]
)
def test_a_budget_takes_the_best_dial_that_kept_to_it(budget: float, dial: float) -> None:
    point = TABLE.within(budget)
    assert point.dial == dial and point.cost_usd_per_1k <= budget


@pytest.mark.parametrize(
    ("quality", "dial"), [(0.0, 10.0), (0.4, 10.0), (0.41, 5.0), (0.7, 5.0), (0.71, 0.0), (0.8, 0.0)]
)
def test_a_wanted_quality_takes_the_cheapest_dial_that_was_predicted_to_reach_it(quality: float, dial: float) -> None:
    point = TABLE.reaching(quality)
    assert point.dial == dial and point.quality >= quality


def test_a_point_carries_what_the_answers_scored() -> None:
    assert asdict(TABLE.within(2.0)) == {"dial": 2.5, "cost_usd_per_1k": 2.0, "quality": 0.7, "score": 0.76}


def test_what_no_dial_met_is_an_error_that_says_what_can_be_had() -> None:
    with pytest.raises(UsageError, match=r"budget of 0\.4 USD .* dial 10 cost more: the least possible is 0\.5"):
        TABLE.within(0.4)
    with pytest.raises(UsageError, match=r"at least 0\.9; .* dial 0 .* less: the greatest possible is 0\.8"):
        TABLE.reaching(0.9)


def test_dials_choose_as_the_router_does() -> None:
    generator = np.random.default_rng(0)
    quality, cost = generator.integers(0, 6, (50, 4)) / 5, generator.integers(1, 5, (50, 4)) / 1000  # with many ties
    choices = dial_choices(quality, cost, 0.002)
    for choice, dial in zip(choices, DIALS, strict=True):
        _, weight = cost_weights(float(dial), 50, 0.002)
        order = rank(torch.from_numpy(quality), torch.from_numpy(cost), weight, torch.ones(50, 4, dtype=torch.bool), 1)[
            1
        ]
        assert choice.tolist() == order[:, 0].tolist()


def test_a_measured_table_holds_the_means_of_what_was_chosen_and_falls_with_the_dial() -> None:
    generator = np.random.default_rng(1)
    quality, cost = generator.uniform(size=(200, 5)), generator.lognormal(-7, 1, (200, 5))
    score = (generator.uniform(size=(200, 5)) < quality).astype(float)
    table, rows = measure_dials(quality, cost, score, POOL, 0.001), np.arange(200)
    best, cheapest = quality.argmax(axis=1), cost.argmin(axis=1)
    assert (table.dial[0], table.dial[-1], table.queries) == (0.0, 10.0, 200)
    assert table.measured_with == fingerprint(POOL, 0.001)
    assert table.quality[0] == pytest.approx(quality.max(axis=1).mean(), rel=1e-5)
    assert table.score[0] == pytest.approx(score[rows, best].mean(), rel=1e-5)
    assert table.cost_usd_per_1k[-1] == pytest.approx(1000 * cost[rows, cheapest].mean(), rel=1e-5)
    for column in (table.cost_usd_per_1k, table.quality):
        assert all(later <= earlier for earlier, later in pairwise(column))


# Whose table it is


def test_a_table_is_found_by_systems_prices_and_cost_range_whatever_the_pools_name_and_order() -> None:
    tables = {"other": TABLE, "pair": replace(TABLE, measured_with=fingerprint(POOL, 0.5))}
    renamed = Pool("renamed", POOL.candidates[::-1])
    assert find_table(tables, POOL, 0.5) is find_table(tables, renamed, 0.5) is tables["pair"]


@pytest.mark.parametrize(
    ("pool", "cost_range"),
    [
        (Pool("pair", POOL.candidates[:1]), 0.5),
        (Pool("pair", (POOL.candidates[0], Candidate(ModelFacts("b", 3.0, 5.0), None))), 0.5),
        (Pool("pair", (POOL.candidates[1], Candidate(POOL.candidates[0].facts, System("a", "q")))), 0.5),
        (POOL, 0.25),
    ],
    ids=["a model less", "another price", "another protocol", "another cost range"],
)
def test_a_pool_of_other_candidates_has_no_table(pool: Pool, cost_range: float) -> None:
    tables = {"pair": replace(TABLE, measured_with=fingerprint(POOL, 0.5))}
    with pytest.raises(PoolError, match=r"pool 'pair' has no dial table: .* other models, prices .* --input FILE"):
        find_table(tables, pool, cost_range)


def test_a_checkpoint_without_tables_says_how_to_get_them() -> None:
    with pytest.raises(CheckpointError, match=r"no dial tables, .* `python -m train dials CHECKPOINT`"):
        find_table({}, POOL, 0.5)


# The file


def test_tables_return_equal_from_json() -> None:
    tables = {"one": TABLE, "zwei ä": replace(TABLE, measured_with="def")}
    text = tables_to_json(tables)
    assert tables_from_json(text) == tables
    assert len(text.splitlines()) == 4  # a line for each pool


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dial": [0, 1]}, "must be lists of one length"),
        ({"score": [0.1, 0.2, float("nan"), 0.3]}, "must hold finite numbers"),
        ({"score": [0.1, 0.2, "x", 0.3]}, "must hold finite numbers"),
        ({"quality": [0.8, 0.7, 0.71, 0.4]}, "must not rise with the dial"),
        ({"dial": [0, 5, 2.5, 10]}, "must not rise with the dial"),
        ({"dial": [0, 5, 6, 11]}, "dials must lie in 0 to 10"),
        ({"extra": 1}, "unexpected keyword argument 'extra'"),
    ],
)
def test_a_table_that_is_none_is_refused(change: dict[str, Any], message: str) -> None:
    raw = json.dumps({"pair": asdict(TABLE) | change})
    with pytest.raises(CheckpointError, match=rf"no dial tables \(.*{message}.*\); delete the file, or measure again"):
        tables_from_json(raw)
    for broken in ("[]", "{", '{"pair": 3}'):
        with pytest.raises(CheckpointError, match="no dial tables"):
            tables_from_json(broken)
