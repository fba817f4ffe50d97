import numpy as np
import pytest
import torch

from router.errors import NoCandidateError, UsageError
from router.policy import Constraints, cost_weights, rank
from router.profiles import ModelFacts

MODELS = (
    ModelFacts("big-one", 10.0, 30.0, context_window=1000, modalities=("text", "image"), tools=True),
    ModelFacts("big-two", 2.0, 6.0, context_window=8000, tools=True),
    ModelFacts("small", 0.1, 0.2),
)


def admitted(tokens=(10.0, 2000.0), **constraints):
    return Constraints(**constraints).admit(MODELS, tokens).tolist()


def test_without_constraints_only_the_context_window_filters():
    assert admitted() == [[True, True, True], [False, True, True]]


def test_allow_and_deny_take_wildcards_whatever_the_case():
    assert admitted((1.0,), allow=("BIG-*",)) == [[True, True, False]]
    assert admitted((1.0,), allow=("big-*",), deny=("*-two",)) == [[True, False, False]]


def test_tools_and_images_need_a_known_fact():
    assert admitted((1.0,), tools=True) == [[True, True, False]]
    assert admitted((1.0,), images=True) == [[True, False, False]]


def test_the_highest_price_counts_input_and_output():
    assert admitted((1.0,), max_price_usd_per_mtok=6.0) == [[False, True, True]]


def test_an_input_that_is_dearer_than_the_output_counts_alike():
    models = (ModelFacts("reads-dear", 10.0, 1.0), ModelFacts("writes-dear", 1.0, 10.0), ModelFacts("cheap", 1.0, 1.0))
    found = Constraints(max_price_usd_per_mtok=6.0).admit(models, [1.0])
    assert found.tolist() == [[False, False, True]]


def test_a_given_context_need_replaces_the_estimate():
    assert admitted((1.0, 1.0), context_tokens=5000) == [[False, True, True]] * 2


def test_an_empty_candidate_set_says_which_constraint_removed_whom():
    with pytest.raises(NoCandidateError, match=r"deny small removed small; tools removed small") as error:
        admitted((1.0, 9000.0), allow=("small",), deny=("small",), tools=True)
    assert "allow small removed big-one, big-two" in str(error.value)
    with pytest.raises(
        NoCandidateError, match=r"context window \(the query needs 9000 tokens\) removed big-one, big-two"
    ):
        admitted((9000.0,), deny=("small",))


@pytest.mark.parametrize("value", [-1, float("nan")])
def test_a_negative_or_undefined_limit_is_refused(value):
    with pytest.raises(UsageError, match="max_price must be a number of at least 0"):
        Constraints(max_price_usd_per_mtok=value)


def test_a_bare_string_is_not_a_list_of_names():
    with pytest.raises(UsageError, match="lists of names"):
        admitted((1.0,), allow="small")


def test_one_dial_serves_all_queries_and_a_list_serves_one_each():
    dials, weights = cost_weights(0, 3, 1.0)
    assert dials.tolist() == weights.tolist() == [0.0, 0.0, 0.0]
    assert cost_weights([0, 10], 2, 1.0)[1].tolist() == [0.0, float("inf")]


@pytest.mark.parametrize(
    ("dial", "message"),
    [
        (11, r"0 \(quality at any price\)"),
        (float("nan"), "must lie in"),
        ([1, 2], "got 2 dials for 3"),
        ("x", "number"),
    ],
)
def test_a_wrong_dial_is_refused(dial, message):
    with pytest.raises(UsageError, match=message):
        cost_weights(dial, 3, 1.0)


def test_ranking_skips_the_excluded_and_gives_ties_to_the_cheaper():
    quality = torch.tensor([[0.5, 0.9, 0.9, 0.99], [0.1, 0.2, 0.3, 0.4]])
    cost = torch.tensor([[1.0, 3.0, 2.0, 9.0], [4.0, 3.0, 2.0, 1.0]])
    mask = torch.from_numpy(np.array([[True, True, True, False], [True, True, True, True]]))
    value, order = rank(quality, cost, torch.tensor([0.0, float("inf")]), mask, 3)
    assert order.tolist() == [[2, 1, 0], [3, 2, 1]]
    assert value.shape == (2, 4)
