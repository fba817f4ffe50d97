"""Dispatch plans: the order in which models are tried, and what requests demand of the pool's facts."""

from __future__ import annotations

import pytest

from router.errors import NoCandidateError
from router.policy.decision import Alternative, Decision
from router.pools.models import ModelFacts
from router.pools.pool import Candidate, Pool, Upstream
from router.serving.dispatch.plan import always_best, demands, loaded_utility, make_plan
from router.serving.dispatch.sessions import Sessions
from router.serving.protocol.conversation import Conversation, Turn

RANKED = (("a", 0.9, 0.03, 0.6), ("b", 0.8, 0.02, 0.55), ("c", 0.5, 0.001, 0.5))


def decision(dial: float = 3.0) -> Decision:
    alternatives = tuple(
        Alternative(model, quality, cost, utility if dial < 10 else -cost, False)
        for model, quality, cost, utility in RANKED
    )
    if dial >= 10:
        alternatives = alternatives[::-1]
    best = alternatives[0]
    return Decision(
        "q", best.model, "p", dial, best.quality, best.cost_usd, best.utility, False, alternatives, {}, {},
        0.0, 3.0, 1.0, None,
    )  # fmt: skip


def order(**options: object) -> list[str]:
    given = {"pressure": {}, "weight": 0.2, "available": set("abc"), "sessions": None, "session": None} | options
    return [each.model for each in make_plan(decision(), **given).order]  # type: ignore[arg-type]


def test_without_load_the_order_is_the_routers() -> None:
    assert order() == ["a", "b", "c"]
    assert [a.model for a in make_plan(decision(10), {}, 0.2, set("abc"), None, None).order] == ["c", "b", "a"]


def test_load_moves_a_model_back_by_what_it_takes() -> None:
    assert order(pressure={"a": 0.3}) == ["b", "a", "c"]
    assert order(pressure={"a": 1.0}) == ["b", "c", "a"]
    assert order(pressure={"a": 1.0}, weight=0.0) == ["a", "b", "c"]


def test_who_cannot_be_asked_now_is_not_first_unless_nobody_can() -> None:
    assert order(available={"b", "c"})[0] == "b"
    assert order(available={"c"}) == ["c", "a", "b"]
    assert order(available=set()) == ["a", "b", "c"]
    plan = make_plan(decision(), {}, 0.2, {"b", "c"}, None, None)
    assert plan.reason == "a is not available; the best of this request"
    assert make_plan(decision(), {"a": 0.9}, 0.2, set("abc"), None, None).reason.startswith("a is under load; ")


def test_a_session_keeps_its_model_first_and_the_others_in_order() -> None:
    sessions = Sessions(0.1, 3600, 100)
    kept = {"sessions": sessions, "session": "s"}
    assert order(**kept, available={"b"})[0] == "b"
    assert order(**kept) == ["b", "a", "c"]  # a is better by less than the threshold
    sessions.answered("s", "c")
    assert order(**kept)[0] in ("a", "b", "c")


def test_sessions_weigh_costs_at_dial_10_by_the_least() -> None:
    sessions = Sessions(0.1, 3600, 100)
    plan = make_plan(decision(10), {}, 0.2, {"a"}, sessions, "s")
    assert plan.order[0].model == "a"
    after = make_plan(decision(10), {}, 0.2, set("abc"), sessions, "s")
    assert after.order[0].model == "c"  # a costs 29 times more than the least
    assert after.reason.startswith("switched from a")


def test_models_whose_window_is_no_wider_are_left_out_after_one_that_was_too_narrow() -> None:
    plan = make_plan(decision(), {}, 0.2, set("abc"), None, None)
    assert [each.model for each in plan.after("a", {"a": 10, "b": 10, "c": 20})] == ["c"]
    assert [each.model for each in plan.after("a", {"a": 10, "b": None, "c": 5})] == ["b"]
    assert plan.after("a", {}) == plan.order


def test_always_best_is_of_the_greatest_quality() -> None:
    assert always_best(decision().alternatives).model == "a"


def pool(*windows: int | None, **upstream: object) -> Pool:
    candidates = tuple(
        Candidate(ModelFacts(f"m{n}", 1.0, 1.0, context_window=window), None, Upstream("http://h", "m", **upstream))  # type: ignore[arg-type]
        for n, window in enumerate(windows)
    )
    return Pool("p", candidates)


def asking(tokens: int, **rest: object) -> Conversation:
    return Conversation((Turn("user", "x" * 4 * tokens),), **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(("tokens", "rounded"), [(10, 0), (96, 0), (97, 1000), (996, 1000), (997, 4000), (5000, 5004)])
def test_context_is_rounded_up_to_the_next_window_of_the_pool(tokens: int, rounded: int) -> None:
    assert demands(asking(tokens), pool(1000, 100, None, 4000))["context_tokens"] == rounded


def test_windows_that_nobody_knows_take_everything() -> None:
    assert demands(asking(10**5), pool(None, None))["context_tokens"] == 0


def test_what_only_the_server_knows_denies_models() -> None:
    mixed = Pool(
        "p",
        (
            *pool(None, json_schema=True).candidates,
            Candidate(ModelFacts("m[1]", 1.0, 1.0), None, Upstream("http://h", "m")),
        ),
    )
    assert demands(asking(1, json_schema=True), mixed)["deny"] == ("m[[]1]",)
    assert demands(asking(1, max_output_tokens=9), pool(None, max_output_tokens=9))["deny"] == ()
    with pytest.raises(NoCandidateError, match="no model is left: an answer of 10 tokens removed m0"):
        demands(asking(1, max_output_tokens=10), pool(None, max_output_tokens=9))
    with pytest.raises(NoCandidateError, match="input of audio removed m0"):
        demands(asking(1, modalities=frozenset({"audio"})), pool(None))
    assert demands(asking(1, modalities=frozenset({"image"})), pool(None))["images"]


def test_a_pool_without_upstreams_is_not_asked_for_a_schema() -> None:
    assert demands(asking(1, json_schema=True), Pool("p", (Candidate(ModelFacts("m", 1.0, 1.0)),)))["deny"] == ()


def test_load_takes_at_most_its_weight_and_at_dial_10_makes_dearer() -> None:
    assert loaded_utility(0.5, 0.01, 1.0, 0.2, 3) == pytest.approx(0.3)
    assert loaded_utility(0.5, 0.01, 0.0, 0.2, 3) == 0.5
    assert loaded_utility(-0.01, 0.01, 1.0, 0.2, 10) == pytest.approx(-0.012)
