import numpy as np
import pytest
import torch

from router.errors import NoCandidateError, UsageError
from router.network import scoring
from router.policy import constraints as policy
from router.policy.constraints import Constraints, cost_weights, rank
from router.pools.models import ModelFacts
from router.routing.router import Router

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


def test_a_price_that_is_unknown_is_below_every_limit_and_hides_no_other():
    models = [ModelFacts("in", 5.0, None), ModelFacts("out", None, 5.0), ModelFacts("none"), ModelFacts("free", 0, 0)]
    for limit, kept in ((4.9, [False, False, True, True]), (5.0, [True] * 4), (0, [False, False, True, True])):
        assert Constraints(max_price_usd_per_mtok=limit).admit(models, [1.0]).tolist() == [kept]


def test_every_demand_but_the_window_is_met_by_the_facts_alone():
    assert Constraints().admit_facts(MODELS).tolist() == [True, True, True]
    demands = Constraints(tools=True, max_price_usd_per_mtok=6.0, context_tokens=10**6)
    assert demands.admit_facts(MODELS).tolist() == [False, True, False]
    assert Constraints(deny=("*",)).admit_facts(MODELS).tolist() == [False, False, False]


def test_windows_that_are_known_already_are_not_read_from_the_models_again():
    windows = np.array([0.0, np.inf, 5.0])
    assert Constraints().admit(MODELS, (5.0,), windows).tolist() == [[False, True, True]]


def test_constraints_are_values_that_nobody_changes_and_that_may_key_a_cache():
    assert {Constraints(tools=True): 1}[Constraints(tools=True)] == 1


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


def test_names_that_no_model_has_are_called_so_with_the_nearest():
    with pytest.raises(NoCandidateError) as error:
        Constraints(allow=("big-won", "m*"), tools=True).admit(MODELS, (1.0,), pool="trio")
    assert str(error.value).startswith("no model of pool trio matches 'big-won' or 'm*'; known: big-")
    many = [ModelFacts(f"m{number:02}") for number in range(25)] + [ModelFacts("gpt-5:high")]
    with pytest.raises(NoCandidateError, match=r"^no model of the pool matches 'GPT-5'; nearest of 26: gpt-5:high$"):
        Constraints(allow=("GPT-5",)).admit(many, (1.0,))
    with pytest.raises(NoCandidateError, match=r"matches 'n0' or .* or 'n9' \.\.\.; known: "):
        Constraints(allow=tuple(f"n{number}" for number in range(12))).admit(MODELS, (1.0,))


def test_the_first_query_without_a_candidate_is_the_one_that_is_told_of():
    with pytest.raises(NoCandidateError, match=r"the query needs 9000 tokens"):
        admitted((1.0, 9000.0, 9500.0), deny=("small",))


@pytest.mark.parametrize(
    ("count", "told"), [(10, "m09. Relax"), (11, "m09 and 1 more. Relax"), (25, "m09 and 15 more")]
)
def test_of_many_removed_models_ten_are_named_and_the_others_counted(count, told):
    models = [ModelFacts(f"m{number:02}") for number in range(count)]
    with pytest.raises(NoCandidateError) as error:
        Constraints(deny=("m*",)).admit(models, (1.0,))
    assert "removed m00, m01, " in str(error.value) and told in str(error.value)


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
    assert [each.tolist() for each in cost_weights([10], 2, 1.0)] == [[10.0] * 2, [float("inf")] * 2]
    assert cost_weights(np.float32(10), 2, 1.0)[0].tolist() == [10.0] * 2
    assert cost_weights(6.0, 1, 0.01)[1].tolist() == cost_weights([6.0], 1, 0.01)[1].tolist() == [100.0]


def test_a_dial_that_was_asked_for_before_is_not_computed_again(monkeypatch):
    calls = []
    monkeypatch.setattr(scoring, "cost_weight", lambda dials, span: calls.append(span) or dials)
    policy._weight_of_one.cache_clear()
    for _ in range(3):
        cost_weights(3.0, 2, 0.5)
    assert calls == [0.5]
    policy._weight_of_one.cache_clear()


def test_a_request_that_names_no_dial_gets_dial_3(tiny_checkpoint):
    assert Router(tiny_checkpoint).route("prove that").dial == 3.0


@pytest.mark.parametrize(
    ("dial", "message"),
    [
        (11, r"0 \(quality at any price\)"),
        (float("nan"), "must lie in"),
        (-0.1, r"got -0\.1"),
        ([1, 12, 13], r"0 \(quality at any price\) .* got 12\.0"),
        ([1, 2], "got 2 dials for 3"),
        ([1, 2, 3, 4], "got 4 dials for 3"),
        ([], "got 0 dials for 3"),
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
