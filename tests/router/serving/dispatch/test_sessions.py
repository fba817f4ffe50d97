"""Sticky sessions: a conversation keeps its model while that costs little, a hard one the model that began it."""

from __future__ import annotations

from typing import Any

import pytest

from router.errors import NoCandidateError, UsageError
from router.serving.dispatch.sessions import Choice, Sessions

THRESHOLD = 0.03
HARD = {"large": 0.8, "small": 0.4}
EASY = {"large": 0.7, "small": 0.8}  # the cost of the large one is its loss
ALIKE = {"large": 0.79, "small": 0.8}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(THRESHOLD, 3600, 1000, clock)


def choose(sessions: Sessions, session: str | None, utilities: dict[str, float], **options: Any) -> Choice:
    return sessions.choose(session, utilities, options.pop("admitted", utilities), **options)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def key(sessions: Sessions, *messages: dict[str, str], owner: str = "k") -> str:
    found = sessions.key({}, {"messages": list(messages)}, owner)
    assert found is not None
    return found


def test_without_a_session_the_best_model_is_chosen_each_time(sessions: Sessions) -> None:
    assert [choose(sessions, None, each).model for each in (HARD, EASY, HARD)] == ["large", "small", "large"]
    assert not choose(sessions, None, HARD).kept
    assert len(sessions) == 0
    assert sessions.key({}, {"input": 3}) is None


def test_a_session_keeps_its_model_while_the_loss_is_below_the_threshold(sessions: Sessions) -> None:
    first = choose(sessions, "s", {"large": 0.8, "small": 0.79})
    assert (first.model, first.kept) == ("large", False)
    kept = choose(sessions, "s", ALIKE)
    assert (kept.model, kept.kept) == ("large", True)
    assert kept.reason == "kept: small gains 0.0100 utility, below the threshold of 0.03"
    assert choose(sessions, "s", HARD).reason == "kept: also the best of this turn"


def test_a_session_switches_once_the_loss_reaches_the_threshold(sessions: Sessions) -> None:
    assert choose(sessions, "s", {"large": 0.8, "small": 0.79}).model == "large"
    switched = choose(sessions, "s", {"large": 0.76, "small": 0.8})
    assert (switched.model, switched.kept) == ("small", False)
    assert switched.reason == "switched from large: it loses 0.0330 utility, 0.03 are allowed"
    assert choose(sessions, "s", HARD).model == "large"  # a turn that has become hard


def test_commit_it_after_a_hard_turn_stays_with_the_hard_turns_model(sessions: Sessions) -> None:
    assert choose(sessions, "s", HARD).model == "large"
    assert choose(sessions, None, EASY).model == "small"  # by itself it would go elsewhere
    commit = choose(sessions, "s", EASY)
    assert (commit.model, commit.kept) == ("large", True)
    assert commit.reason == (
        "kept: small gains 0.1000 utility on this turn, but a recent one, which counts 0.2800, was too hard for it"
    )


def test_a_hard_turn_is_forgotten_after_some_easy_ones(sessions: Sessions) -> None:
    choose(sessions, "s", HARD)
    models = [choose(sessions, "s", EASY).model for _ in range(8)]
    # 0.4 x 0.7^5 = 0.067 is the first that is more than the threshold below the loss of 0.1
    assert models == ["large"] * 4 + ["small"] * 4
    assert choose(sessions, "s", HARD).model == "large"


def test_a_need_is_of_one_model_and_a_third_may_be_the_one_that_meets_them_all(sessions: Sessions) -> None:
    assert choose(sessions, "s", {"code": 0.8, "law": 0.3, "both": 0.75}).model == "code"
    assert choose(sessions, "s", {"code": 0.3, "law": 0.8, "both": 0.75}).model == "both"


def test_a_model_that_is_not_admitted_is_left_and_comes_back_only_if_it_is_worth_it(sessions: Sessions) -> None:
    choose(sessions, "s", HARD)
    away = choose(sessions, "s", HARD, admitted=["small"])
    assert (away.model, away.kept) == ("small", False)
    assert away.reason == "switched: large is not available to this request"
    assert choose(sessions, "s", HARD).model == "large"
    assert choose(sessions, "t", ALIKE, admitted=["large"]).model == "large"
    assert choose(sessions, "t", ALIKE).model == "large"  # 0.01 is not worth a cold cache
    with pytest.raises(NoCandidateError, match="none of the 2 models"):
        choose(sessions, "s", HARD, admitted=[])


def test_after_a_fallback_the_session_is_with_the_model_that_answered(sessions: Sessions) -> None:
    assert choose(sessions, "s", ALIKE).model == "small"
    sessions.answered("s", "large")
    assert choose(sessions, "s", ALIKE).model == "large"
    sessions.answered(None, "large")
    sessions.answered("unknown", "large")
    assert len(sessions) == 1


def test_another_dial_begins_anew(sessions: Sessions) -> None:
    choose(sessions, "s", HARD, dial=0)
    assert choose(sessions, "s", EASY, dial=8).model == "small"
    assert choose(sessions, "s", EASY, dial=8).kept


def test_models_may_come_and_go_between_turns(sessions: Sessions) -> None:
    choose(sessions, "s", HARD)
    assert choose(sessions, "s", {"small": 0.5, "new": 0.6}).model == "new"
    assert choose(sessions, "s", {"large": 0.61, "new": 0.6}).model == "new"


def test_the_next_turn_of_a_conversation_finds_its_session(sessions: Sessions) -> None:
    first = key(sessions, user("Prove it."))
    assert choose(sessions, first, HARD).model == "large"
    second = key(sessions, user("Prove it."), assistant("Done."), user("commit it"))
    assert second.partition(".")[0] == first.partition(".")[0]
    assert second != first
    assert choose(sessions, second, EASY).model == "large"
    third = key(sessions, user("Prove it."), assistant("Done."), user("commit it"), assistant("Yes."), user("push"))
    assert third.partition(".")[0] == first.partition(".")[0]
    assert choose(sessions, third, EASY).model == "large"
    assert choose(sessions, key(sessions, user("commit it")), EASY).model == "small"


def test_a_user_that_all_requests_name_does_not_make_one_session_of_them(sessions: Sessions) -> None:
    def of(*messages: dict[str, str]) -> str:
        found = sessions.key({}, {"messages": list(messages), "user": "my-application"}, "k")
        assert found is not None
        return found

    proof, poem = of(user("a proof")), of(user("a poem"))
    assert choose(sessions, proof, HARD).model == "large"
    assert choose(sessions, poem, EASY).model == "small"
    more = (assistant("..."), user("thanks"))
    assert choose(sessions, of(user("a proof"), *more), EASY).model == "large"
    assert choose(sessions, of(user("a poem"), *more), ALIKE).model == "small"
    assert proof.partition(".")[0] != poem.partition(".")[0]


@pytest.mark.parametrize("more", [{"user": "my-application"}, {}], ids=["user", "plain"])
def test_a_response_goes_on_with_the_model_that_gave_it_whatever_else_is_asked(
    sessions: Sessions, more: dict[str, str]
) -> None:
    for text, utilities, model in (("a proof", HARD, "large"), ("a poem", EASY, "small")):
        session = sessions.key({}, {"input": text} | more, "k")
        assert choose(sessions, session, utilities).model == model
        sessions.answered(session, model, f"resp_{model}")
    for model in ("large", "small"):
        after = sessions.key({}, {"previous_response_id": f"resp_{model}", "input": "go on"} | more, "k")
        assert choose(sessions, after, ALIKE, kept_upstream=True).model == model


def test_conversations_that_open_alike_go_apart_when_they_do(sessions: Sessions) -> None:
    choose(sessions, key(sessions, user("hi")), ALIKE)
    begun = (user("hi"), assistant("Hello."))
    ada = key(sessions, *begun, user("a proof"))
    assert choose(sessions, ada, HARD).model == "large"
    bob = key(sessions, *begun, user("a poem"))
    assert choose(sessions, bob, EASY).model == "small"  # knows nothing of the proof
    assert ada.partition(".")[0] != bob.partition(".")[0]
    more = (assistant("..."), user("thanks"))
    assert choose(sessions, key(sessions, *begun, user("a proof"), *more), EASY).model == "large"
    assert choose(sessions, key(sessions, *begun, user("a poem"), *more), EASY).model == "small"


def test_requests_with_the_same_examples_before_them_are_no_conversation(sessions: Sessions) -> None:
    shots = (user("2+2?"), assistant("4"))
    names = {key(sessions, *shots, user(f"{n}+{n}?")).partition(".")[0] for n in range(5)}
    assert len(names) == 5


def test_a_request_sent_again_is_the_same_turn(sessions: Sessions) -> None:
    first = key(sessions, user("Prove it."))
    choose(sessions, first, HARD)
    assert key(sessions, user("Prove it.")) == first
    assert choose(sessions, first, HARD).kept
    assert len(sessions) == 1


def test_two_clients_never_share_a_conversation(sessions: Sessions) -> None:
    choose(sessions, key(sessions, user("Prove it.")), HARD)
    other = key(sessions, user("Prove it."), assistant("Done."), user("commit it"), owner="other")
    assert choose(sessions, other, EASY).model == "small"


def test_a_response_kept_upstream_can_only_go_on_where_it_lies(sessions: Sessions) -> None:
    first = sessions.key({}, {"input": "Prove it."}, "k")
    choose(sessions, first, HARD)
    sessions.answered(first, "large", "resp_1")
    body = {"previous_response_id": "resp_1", "input": "and now all else"}
    after = sessions.key({}, body, "k")
    assert first is not None
    assert after is not None
    assert after.partition(".")[0] == first.partition(".")[0]
    bound = choose(sessions, after, {"large": 0.0, "small": 1.0}, kept_upstream=True, dial="another")
    assert bound == Choice("large", "kept: the conversation lies with this model's provider", True)
    unknown = sessions.key({}, {**body, "previous_response_id": "resp_2"}, "k")
    assert choose(sessions, unknown, EASY, kept_upstream=True).model == "small"


def test_an_idle_session_is_forgotten_and_one_in_use_is_not(sessions: Sessions, clock: Clock) -> None:
    choose(sessions, "idle", HARD)
    for _ in range(4):
        choose(sessions, "busy", HARD)
        clock.now += 1000
    assert choose(sessions, "busy", EASY).model == "large"
    assert choose(sessions, "idle", EASY).model == "small"
    clock.now += 3601
    choose(sessions, "new", EASY)
    assert len(sessions) == 1


def test_no_more_turns_are_kept_than_allowed_and_the_longest_unused_go_first(clock: Clock) -> None:
    sessions = Sessions(THRESHOLD, 3600, 3, clock)
    for name in "abc":
        choose(sessions, name, HARD)
    choose(sessions, "a", EASY)
    choose(sessions, "d", HARD)
    assert len(sessions) == 3
    assert choose(sessions, "a", EASY).model == "large"
    assert choose(sessions, "b", EASY).model == "small"
    for number in range(100):
        key(sessions, user(str(number)))
    assert len(sessions) == 3


@pytest.mark.parametrize("wrong", [(-1, 1, 1), (0, 0, 1), (0, -1, 1), (0, 1, 0), (float("nan"), 1, 1)], ids=str)
def test_settings_that_are_not_allowed_are_refused(wrong: tuple[float, float, int]) -> None:
    with pytest.raises(UsageError, match="allowed are a threshold from 0"):
        Sessions(*wrong)


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_a_decay_that_is_no_share_is_refused(decay: float) -> None:
    with pytest.raises(UsageError, match=f"and decay {decay}"):
        Sessions(0.0, 1.0, 1, decay=decay)


@pytest.mark.parametrize(("decay", "models"), [(0, ["small"] * 3), (1, ["large"] * 3)])
def test_with_decay_0_a_hard_turn_is_forgotten_at_once_and_with_1_never(
    decay: float, models: list[str], clock: Clock
) -> None:
    sessions = Sessions(threshold=0, ttl_s=0.5, max_sessions=1, clock=clock, decay=decay)
    assert sessions.choose(session="s", utilities=HARD, admitted=HARD).model == "large"
    assert [choose(sessions, "s", EASY).model for _ in range(3)] == models


def test_a_need_that_equals_the_threshold_switches_and_below_it_the_reason_says_what_held_the_session() -> None:
    sessions = Sessions(0.25, 3600, 10, decay=0.5)
    choose(sessions, "s", {"large": 1.0, "small": 0.5})
    held = choose(sessions, "s", {"large": 0.5, "small": 0.75})  # small needs 0.25 of the turn before
    assert (held.model, held.reason) == (
        "large",
        "kept: small gains 0.2500 utility on this turn, but a recent one, which counts 0.2500, was too hard for it",
    )
    assert choose(sessions, "s", {"large": 0.5, "small": 0.75}).reason == (
        "kept: small gains 0.2500 utility on this turn, but a recent one, which counts 0.1250, was too hard for it"
    )
    assert choose(sessions, "s", {"large": 0.5, "small": 0.8125}).model == "small"  # 0.3125 less 0.0625


def test_of_equally_good_models_the_one_before_is_kept_as_the_best_of_the_turn(sessions: Sessions) -> None:
    assert choose(sessions, "s", {"small": 0.5, "large": 0.6}).model == "large"
    kept = choose(sessions, "s", {"small": 0.6, "large": 0.6})
    assert (kept.model, kept.reason) == ("large", "kept: also the best of this turn")


def test_a_model_above_all_that_are_admitted_has_nothing_to_regret(sessions: Sessions) -> None:
    choose(sessions, "s", {"best": 0.9, "small": 0.5}, admitted=["small"])
    assert choose(sessions, "s", {"best": 0.51, "small": 0.5}).model == "small"


def test_a_session_idle_for_exactly_its_time_is_still_known(sessions: Sessions, clock: Clock) -> None:
    choose(sessions, "idle", HARD)
    clock.now += 3600
    choose(sessions, "other", HARD)
    assert len(sessions) == 2
    assert choose(sessions, "idle", EASY).model == "large"


def test_a_session_idle_for_longer_begins_anew_though_nobody_else_came(sessions: Sessions, clock: Clock) -> None:
    choose(sessions, "idle", HARD)
    clock.now += 3601
    assert choose(sessions, "idle", EASY).model == "small"


def test_a_turn_whose_session_was_forgotten_keeps_the_name_of_its_conversation(sessions: Sessions) -> None:
    choose(sessions, "conversation.turn", HARD)
    sessions.answered("conversation.turn", "large", "resp_1")
    after = sessions.key({}, {"previous_response_id": "resp_1", "input": "and now all else"}, "k")
    assert after is not None
    assert after.partition(".")[0] == "conversation"


def test_processes_do_not_share_the_secret_of_their_digests_unless_it_is_given(clock: Clock) -> None:
    mine, other = (Sessions(THRESHOLD, 3600, 10, clock) for _ in range(2))
    assert key(mine, user("hi")) != key(other, user("hi"))
    same = {key(Sessions(THRESHOLD, 3600, 10, clock, secret=b"one"), user("hi")) for _ in range(2)}
    assert len(same) == 1


def test_a_choice_is_a_value_that_nobody_changes(sessions: Sessions) -> None:
    assert len({choose(sessions, None, HARD), choose(sessions, None, HARD)}) == 1
