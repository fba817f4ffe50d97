"""Session keys: names and beginnings that identify a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from router.serving.dispatch.session_keys import (
    DIGEST_BYTES,
    kept_upstream,
    named_session,
    prefix_digests,
    response_digest,
)

SECRET = b"secret"
SYSTEM = {"role": "system", "content": "Be brief."}
ASK = {"role": "user", "content": "Prove it."}
ANSWER = {"role": "assistant", "content": "Done."}
COMMIT = {"role": "user", "content": "commit it"}


def named(headers: dict[str, str], body: dict[str, Any], owner: str = "k") -> str | None:
    return named_session(headers, body, owner, SECRET)


def digests(body: dict[str, Any], owner: str = "k") -> list[str]:
    return prefix_digests(body, owner, SECRET)


def chat(*messages: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": list(messages)}


def test_a_header_comes_before_a_kept_conversation_and_a_user_names_none() -> None:
    header, body = {"x-session-id": "s"}, {"conversation": {"id": "c"}, "user": "u"}
    by_header = named(header, {})
    assert named(header, body) == by_header
    by_conversation = named({}, {"conversation": "c"})
    assert named({}, body) == by_conversation
    assert named({}, {"user": "c"}) is None
    assert len({by_header, by_conversation, None}) == 3


def test_users_never_share_the_beginning_of_a_conversation() -> None:
    of = [digests(chat(ASK) | {"user": user})[0] for user in ("ada", "bob", "")] + [digests(chat(ASK))[0]]
    assert of[2] == of[3]  # an empty one is none
    assert len(set(of)) == 3
    assert digests(chat(ASK, ANSWER, COMMIT) | {"user": "ada"})[0] == of[0]
    assert digests(chat(ASK) | {"user": 'k", "u'}, "") != digests(chat(ASK) | {"user": "u"}, 'k", "')


def test_a_response_goes_on_whoever_the_user_is() -> None:
    body = {"previous_response_id": "resp_1", "input": "commit it", "user": "app"}
    assert digests(body)[0] == response_digest("resp_1", SECRET)


@pytest.mark.parametrize("name", ["", "x" * 513, 3, None, ["u"], {"id": 3}], ids=repr)
def test_a_name_that_is_none_names_no_session(name: Any) -> None:
    assert named({}, {"user": name, "conversation": name}) is None
    assert digests(chat(ASK) | {"user": name}) == digests(chat(ASK))


def test_clients_never_share_a_session_and_nothing_can_be_read_from_a_key() -> None:
    mine = named({}, {"conversation": "ada@example.com"})
    assert mine is not None
    assert len(bytes.fromhex(mine)) == DIGEST_BYTES
    assert named({}, {"conversation": "ada@example.com"}, "other") != mine
    assert named_session({}, {"conversation": "ada@example.com"}, "k", b"another") != mine
    assert digests(chat(ASK), "other") != digests(chat(ASK))
    joined = {"conversation": 'k", "u'}  # what is joined stays apart
    assert named({}, joined, "") != named({}, {"conversation": "u"}, 'k", "')


def test_the_next_turn_begins_with_the_turn_before() -> None:
    first, second = digests(chat(SYSTEM, ASK)), digests(chat(SYSTEM, ASK, ANSWER, COMMIT))
    assert second[:2] == first
    assert len(set(second)) == 4
    other = digests(chat(SYSTEM, COMMIT, ANSWER, ASK))
    assert other[0] == first[0]
    assert not set(other[1:]) & set(second)


def test_messages_that_say_the_same_are_the_same() -> None:
    marked = {
        "content": [{"type": "text", "text": "Prove it.", "cache_control": {"type": "ephemeral"}}],
        "role": "user",
        "cache_control": {"type": "ephemeral"},
    }
    assert digests(chat(marked)) == digests(chat(ASK))
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    parts = [{"type": "text", "text": "Prove it."}, picture]
    assert digests(chat({"role": "user", "content": parts})) != digests(chat(ASK))
    assert digests(chat({**ASK, "name": "ada"})) != digests(chat(ASK))


def test_a_tool_call_and_its_result_extend_the_conversation() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
    result = {"role": "tool", "tool_call_id": "1", "content": "42"}
    assert digests(chat(ASK, call, result))[:1] == digests(chat(ASK))


def test_responses_are_read_alike_whether_their_input_is_text_or_items() -> None:
    first = digests({"instructions": "Be brief.", "input": "Prove it."})
    items = [{"role": "user", "content": [{"type": "input_text", "text": "Prove it."}]}]
    assert digests({"instructions": "Be brief.", "input": items}) == first
    more = [*items, {"type": "message", "role": "assistant", "content": []}, COMMIT]
    assert digests({"instructions": "Be brief.", "input": more})[:2] == first
    assert digests({"instructions": "Be long.", "input": items})[0] != first[0]


def test_a_continued_response_is_the_beginning_of_the_next_one() -> None:
    after = digests({"previous_response_id": "resp_1", "input": "commit it", "instructions": "not carried over"})
    assert after[0] == response_digest("resp_1", SECRET)
    assert len(after) == 2
    assert response_digest("resp_2", SECRET) != after[0]


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"previous_response_id": "r"}, True),
        ({"conversation": "c"}, True),
        ({"conversation": None}, False),
        ({}, False),
    ],
    ids=str,
)
def test_what_lies_with_the_provider_is_told_by_the_body(body: dict[str, Any], kept: bool) -> None:
    assert kept_upstream(body) == kept


@pytest.mark.parametrize("body", [{}, {"messages": "x"}, {"input": 3}, {"messages": {}}, {"input": None}], ids=str)
def test_a_request_without_a_conversation_has_no_digests(body: dict[str, Any]) -> None:
    assert digests(body) == []


def test_shapes_that_are_not_legal_are_digested_all_the_same() -> None:
    odd = [
        None,
        3,
        "x",
        [],
        {"content": [None, 3, {"type": "text"}]},
        {"content": {"a": "\ud800"}},
        {"a": float("nan")},
    ]
    assert len(set(digests(chat(*odd)))) == len(odd)
