import pickle
from copy import deepcopy

import pytest

from router.policy.decision import Alternative, Contribution, Contributions, Decision, Reasons, strongest
from router.policy.goals import Goal

REASONS = Reasons(
    runner_up="small",
    lead_logit=1.0,
    axes=Contributions([("Algebra", "knowledge"), ("coding", "capability")], [-0.2, 0.7]),
    bias=0.5,
    other=0.0,
    prototypes=0.0,
    lead_utility=0.03,
    quality_term=0.05,
    cost_term=-0.02,
)


def test_strongest_keeps_the_greatest_even_when_all_are_slight():
    assert strongest(["a", "b"], [0.01, 0.02]) == {"b": 0.02}


def test_reasons_read_as_two_lines_with_the_remaining_axes_summed():
    lines = REASONS.lines(top=1)
    assert lines[0] == "ahead of small by +0.0300 utility: quality +0.0500, cost -0.0200"
    assert lines[1] == "quality logit +1.00: coding +0.70, further axes -0.20, general strength +0.50"


def test_the_residual_is_named_other_when_there_is_one():
    assert "other +0.10" in Reasons(**{**vars(REASONS), "other": 0.1}).lines()[1]
    assert "similar queries -0.20" in Reasons(**{**vars(REASONS), "prototypes": -0.2}).lines()[1]


def test_contributions_are_a_sequence_with_the_greatest_share_first():
    found = Contributions([("a", "capability"), ("b", "knowledge"), ("c", "difficulty")], [0.1, -0.3, 0.2])
    assert [each.axis for each in found] == ["b", "c", "a"] and len(found) == 3
    assert found[:2] == (Contribution("b", "knowledge", -0.3), Contribution("c", "difficulty", 0.2))
    assert found == tuple(found) and found != found[:2] and hash(found) == hash(tuple(found))
    assert found.at_least(0.2) == found[:2] and found.at_least(0.0) == tuple(found)
    assert pickle.loads(pickle.dumps(found)) == found and repr(found) == repr(tuple(found))


def test_json_carries_a_schema_version_and_not_the_query():
    best = Alternative("big", 0.9, 0.001, 0.87, False)
    decision = Decision(
        "secret",
        "big",
        "p",
        3.0,
        0.9,
        0.001,
        0.87,
        False,
        (best,),
        {"coding": 0.8},
        {"Algebra": 0.6},
        0.2,
        2.346,
        0.9,
        REASONS,
    )
    raw = decision.to_json()
    assert raw["schema_version"] == 1
    assert "secret" not in str(raw)
    assert (raw["level"], raw["level_word"], raw["familiarity"]) == (2.35, "easy", 0.9)
    assert raw["reasons"]["axes"][0] == {"axis": "coding", "kind": "capability", "logit": 0.7}
    assert [each["axis"] for each in raw["reasons"]["axes"]] == ["coding", "Algebra"]
    assert [each["axis"] for each in decision.to_json(least_logit=0.3)["reasons"]["axes"]] == ["coding"]
    assert raw["alternatives"] == [{"model": "big", "quality": 0.9, "cost_usd": 0.001, "utility": 0.87, "prior": False}]
    assert sum(c.logit for c in REASONS.axes) + REASONS.bias + REASONS.other + REASONS.prototypes == pytest.approx(
        REASONS.lead_logit
    )


def test_what_is_changed_in_a_decisions_json_or_in_its_copy_changes_no_decision():
    best = Alternative("big", 0.9, 0.001, 0.87, False)
    parts = ({"coding": 0.8}, {"Algebra": 0.6}, 0.2, 2.346, 0.9, REASONS, Goal(1.0, None, "batch", 200.0), None)
    decision = Decision("q", "big", "p", 3.0, 0.9, 0.001, 0.87, False, (best,), *parts)
    before = deepcopy(decision.to_json())
    raw = decision.to_json()
    raw["alternatives"][0]["model"] = raw["goal"]["met_on"] = raw["reasons"]["runner_up"] = "none"
    for name in ("capabilities", "domains", "goal", "reasons"):
        raw[name].clear()
    again = decision.of("r")
    for found in (again.capabilities, again.domains):
        found.clear()
    assert decision.to_json() == before and decision.query == "q"
    assert again.query == "r" and again.model == "big"


@pytest.mark.parametrize(
    ("level", "word"),
    [
        (1.0, "trivial"),
        (1.49, "trivial"),
        (1.5, "easy"),
        (2.5, "medium"),
        (4.4, "hard"),
        (4.5, "very hard"),
        (5.0, "very hard"),
    ],
)
def test_a_level_has_the_word_of_the_nearest_whole_one(level, word):
    decision = Decision("q", "big", "p", 3.0, 0.9, 0.001, 0.87, False, (), {}, {}, 0.2, level, 1.0, None)
    assert decision.level_word == word
