import math

import numpy as np
import pytest
import torch

from router.errors import UsageError
from router.policy.goals import DialTable, Goal

TABLE = DialTable("abc", 9, (0.0, 10.0), (4.0, 0.5), (0.8, 0.4), (0.7, 0.5))


@pytest.mark.parametrize("dial", [None, 3.0, [1, 2]])
def test_a_dial_alone_or_nothing_is_no_goal(dial):
    assert Goal.read(dial, None, None) is None


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ((3.0, 1.0, None), "dial and budget_usd_per_1k"),
        ((0, None, 0.5), "dial and quality_at_least"),
        ((None, 0.0, 0.0), "budget_usd_per_1k and quality_at_least"),
    ],
)
def test_only_one_of_dial_budget_and_quality_may_be_given(given, names):
    with pytest.raises(UsageError, match=f"got {names}: give one of"):
        Goal.read(*given)


def test_a_goal_reads_as_a_person_would_say_it():
    assert str(Goal(budget_usd_per_1k=0.25)) == "at most $0.25 per 1,000 queries"
    assert str(Goal(quality_at_least=0.7)) == "a quality of at least 0.7"


def test_a_goal_goes_to_its_own_column_and_to_its_own_solver():
    quality, cost, admitted = torch.tensor([[0.5, 0.9]]), torch.tensor([[0.001, 0.003]]), np.ones((1, 2), bool)
    budget, wanted = Goal(budget_usd_per_1k=2.0), Goal(quality_at_least=0.6)
    assert (budget.point(TABLE).dial, wanted.point(TABLE).dial) == (10.0, 0.0)
    assert budget.assign(quality, cost, admitted).choice.tolist() == [0]
    assert wanted.assign(quality, cost, admitted).choice.tolist() == [1]


def test_an_infinite_weight_is_none_which_json_can_say():
    assert Goal(2.0).met_at(math.inf).cost_weight is None
    assert Goal(2.0).met_at(0.0).cost_weight == 0.0


@pytest.mark.parametrize(
    ("budget", "quality", "told"),
    [
        (-1.0, None, "budget_usd_per_1k must be a number of at least 0, got -1.0"),
        (math.nan, None, "budget_usd_per_1k must be a number of at least 0, got nan"),
        ("1", None, "budget_usd_per_1k must be a number of at least 0, got '1'"),
        (None, 1.5, "quality_at_least must be a number from 0 to 1, got 1.5"),
        (None, -1, "quality_at_least must be a number from 0 to 1, got -1"),
        (None, True, "quality_at_least must be a number from 0 to 1, got True"),
    ],
)
def test_a_goal_out_of_range_is_refused(budget, quality, told):
    with pytest.raises(UsageError, match=told):
        Goal.read(None, budget, quality)
