"""Conversations: every legal shape of a request gives a query and demands, every illegal shape gives a reason."""

from __future__ import annotations

from typing import Any

import pytest

from router.encoding.wrappers import opened
from router.errors import BodyError
from router.routing.request import MAX_QUERY_CHARS, check_query
from router.serving.protocol.conversation import Conversation, read_chat, read_responses

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CALL = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": '{"city": "Ulm"}'}}


def chat(*messages: Any, **rest: Any) -> Conversation:
    return read_chat({"model": "auto", "messages": list(messages), **rest})


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_one_user_turn_is_the_query_as_it_is() -> None:
    assert chat(user("Prove it.")).query() == "Prove it."
    assert chat(user([{"type": "text", "text": "Prove"}, {"type": "text", "text": "it."}])).query() == "Prove\nit."
    assert read_responses({"input": "Prove it."}).query() == "Prove it."


def test_the_last_user_turn_is_the_task_and_the_others_are_material() -> None:
    found = chat(
        {"role": "developer", "content": "You are a lawyer."},
        user("Is the clause enforceable?"),
        {"role": "assistant", "content": "In Delaware, yes. <|user|> is no mark here."},
        user("And in Texas?"),
        {"role": "assistant", "tool_calls": [CALL]},
    ).query()
    read = opened(found)
    assert read.task == "And in Texas?"
    assert read.material[0] == "Is the clause enforceable?"
    assert "In Delaware, yes. < |user|> is no mark here." in read.material
    assert read.frame == ("You are a lawyer.",)


def test_the_query_is_as_long_as_the_conversation() -> None:
    long = "filler " * 2000
    found = chat({"role": "system", "content": long}, user(long), {"role": "assistant", "content": long}, user("And?"))
    assert len(found.query()) == pytest.approx(3 * len(long), rel=0.05)  # costs are predicted from it


def test_a_long_conversation_stays_routable() -> None:
    for last in ("c", "c" * 900_000):
        found = chat(user("a" * 900_000), {"role": "assistant", "content": "b" * 900_000}, user(last)).query()
        check_query(found)
        assert len(found) <= MAX_QUERY_CHARS and opened(found).task.startswith("c")
        assert opened(found).material


@pytest.mark.parametrize(
    "messages",
    [
        [user("")],
        [user(None)],
        [user([])],
        [user("  \n")],
        [user([PICTURE])],
        [{"role": "user"}],
        [{"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c"}],
        [{"role": "assistant", "content": None, "refusal": "No."}],
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
        [{"role": "assistant", "content": None, "audio": {"id": "a"}}],
        [{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}],
        [{"role": "function", "name": "f", "content": "7"}],
        [{"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "rain"}]}],
        [{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]}],
        [{"role": "assistant", "tool_calls": []}],
        [{"role": "assistant", "tool_calls": [None, 3]}],
        [user({"type": "text", "text": "one part without its list"})],
        [user(["bare", {"type": "novel", "data": 3}])],
        [user("\ud800 half a pair")],
        [user("\x00\u202e")],
        [user([{"type": "file", "file": {"file_id": "f"}}])],
        [user([{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}])],
    ],
)
def test_every_legal_shape_of_messages_has_a_text_to_route_on(messages: list[Any]) -> None:
    found = chat(*messages).query()
    check_query(found)
    assert found.strip()


@pytest.mark.parametrize(
    "body",
    [
        {"input": ""},
        {"input": []},
        {"input": ["bare"]},
        {"input": [user("hi")]},
        {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]},
        {"input": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]}]},
        {"input": [{"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": "rain"}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "r"}]}]},
        {"input": [{"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}}]},
        {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}]},
        {"input": [{"type": "item_reference", "id": "i"}]},
        {"instructions": "Be brief.", "input": "hi"},
        {"previous_response_id": "resp_1"},
        {"prompt": {"id": "p"}},
    ],
)
def test_every_legal_shape_of_input_has_a_text_to_route_on(body: dict[str, Any]) -> None:
    found = read_responses(body).query()
    check_query(found)
    assert found.strip()


def test_what_a_tool_was_asked_and_answered_is_part_of_the_conversation() -> None:
    found = chat(
        user("Weather?"), {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "rain"}
    ).query()
    assert opened(found).task == "Weather?"
    assert 'look_up {"city": "Ulm"}' in found
    assert found.endswith("rain")
    items = [user("Weather?"), {"type": "function_call", "name": "look_up", "arguments": "{}"}]
    assert "look_up {}" in read_responses({"input": items}).query()


def test_demands_of_a_chat() -> None:
    plain = chat(user("x" * 400))
    assert (plain.tools, plain.json_schema, plain.modalities, plain.stream) == (False, False, frozenset(), False)
    assert plain.context_tokens == 104
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
    rich = chat(
        user([{"type": "text", "text": "x"}, PICTURE]),
        tools=[{"type": "function", "function": {"name": "f", "description": "d" * 4000}}],
        response_format=schema,
        max_completion_tokens=500,
        max_tokens=7,
        stream=True,
    )
    assert (rich.tools, rich.json_schema, rich.modalities, rich.stream) == (True, True, {"image"}, True)
    assert rich.max_output_tokens == 500
    assert 2500 < rich.context_tokens < 2700  # a picture, the tool's description, the answer
    assert not chat(user("x"), tools=[], response_format={"type": "json_object"}).tools
    assert not chat(user("x"), response_format={"type": "json_object"}).json_schema
    assert chat(user("x"), max_tokens=7).max_output_tokens == 7


def test_demands_of_a_response() -> None:
    found = read_responses(
        {
            "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}],
            "tools": [{"type": "web_search"}],
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
            "max_output_tokens": 50,
            "previous_response_id": "resp_1",
        }
    )
    assert (found.tools, found.json_schema, found.modalities) == (True, True, {"image"})
    assert (found.max_output_tokens, found.continues) == (50, "resp_1")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "messages must be a list of at least one message, got nothing"),
        ({"messages": []}, "got an empty list"),
        ({"messages": "hi"}, "got 'hi'"),
        ({"messages": ["hi"]}, r"messages\[0\] must be an object with role and content, got 'hi'"),
        ({"messages": [user("a"), {"content": "x"}]}, r"messages\[1\].role must be one of system, .* got nothing"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "got 'boss'"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "got a list"),
        ({"messages": [user(3)]}, r"messages\[0\].content must be text or a list of parts, got 3"),
        ({"messages": [user([3])]}, r"messages\[0\].content\[0\] must be a part, which is an object, got 3"),
        ({"messages": [user("x")], "tools": {}}, "tools must be a list, got an object"),
        ({"messages": [user("x")], "stream": "yes"}, "stream must be true or false, got 'yes'"),
        ({"messages": [user("x")], "max_tokens": -1}, "max_tokens must be a whole number of tokens, got -1"),
        ({"messages": [user("x")], "max_completion_tokens": True}, "max_completion_tokens must be .* got true"),
    ],
)
def test_an_illegal_chat_is_refused_with_the_reason(body: dict[str, Any], message: str) -> None:
    with pytest.raises(BodyError, match=message):
        read_chat(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "input must be text or a list of items, got nothing"),
        ({"input": 3}, "got 3"),
        ({"input": [3]}, r"input\[0\] must be an item"),
        ({"input": [{"type": "message", "content": "x"}]}, r"input\[0\].role must be one of"),
        ({"input": "x", "instructions": 3}, "instructions must be text or a list of parts, got 3"),
        ({"input": "x", "previous_response_id": 3}, "previous_response_id must be text, got 3"),
        ({"input": "x", "max_output_tokens": "many"}, "max_output_tokens must be a whole number"),
    ],
)
def test_an_illegal_response_request_is_refused_with_the_reason(body: dict[str, Any], message: str) -> None:
    with pytest.raises(BodyError, match=message):
        read_responses(body)
