"""Bodies of requests: every problem at once, and nothing more of a conversation is looked at than that it is a list."""

from __future__ import annotations

from typing import Any

import pytest

from router.errors import BodyError, QueryError
from router.serving.http.openapi import document
from router.serving.protocol.bodies import Batch, ChatFields, Feedback, ResponseFields, Route, read_own
from router.validation import Section

SCORED = {"decision_id": "dec_1", "score": 0.5}


@pytest.mark.parametrize("score", [-0.1, 1.1, True, "1", [1]])
def test_a_score_is_a_number_from_0_to_1(score: Any) -> None:
    with pytest.raises(QueryError, match=r"^score: got .*; write a number from 0 to 1$"):
        read_own(Feedback, SCORED | {"score": score})


def test_a_comment_has_a_bound() -> None:
    assert read_own(Feedback, SCORED | {"comment": "x" * 10_000}).comment
    with pytest.raises(QueryError, match=r"^comment: .*; write text of at most 10,000 characters$"):
        read_own(Feedback, SCORED | {"comment": "x" * 10_001})


@pytest.mark.parametrize(
    ("model", "values", "problems"),
    [
        (
            Route,
            {"query": 3, "dial": "fast", "tpo": 1, "tools": 1, "attitude": "glad"},
            [
                "tools: got 1 (a number); write true or false",
                "attitude: got 'glad' (text); write optimistic, neutral or pessimistic",
                "query: got 3 (a number); write text",
                "dial: got 'fast' (text); write a number from 0 (quality at any price) to 10 (least predicted cost)",
                "'tpo': unknown key; did you mean top?",
            ],
        ),
        (
            Batch,
            {"dial": [1, 11], "deny": ["x" * 201], "allow": "x", "context_tokens": 2.5},
            [
                "allow: got 'x' (text); write a list of texts",
                "deny: write at most 100 names or wildcards of at most 200 characters",
                "context_tokens: got 2.5 (a number); write a whole number from 0 to 1,000,000,000",
                "queries: missing; give a list of texts",
                "dial: got [1, 11] (a list); write a number from 0 (quality at any price) to 10 (least predicted cost)",
            ],
        ),
        (Batch, {"queries": ["x"] * 1001}, ["queries: got 1,001 queries; at most 1,000 are routed together"]),
        (Route, {"query": "x", "api_key": "sk-hush"}, ["api_key: no secret belongs here; leave it out"]),
    ],
)
def test_every_problem_of_a_body_is_told_at_once(
    model: type[Section], values: dict[str, Any], problems: list[str]
) -> None:
    with pytest.raises(QueryError) as raised:
        read_own(model, values)
    assert [part in str(raised.value) for part in problems] == [True] * len(problems)
    assert "hush" not in str(raised.value)


def test_null_is_the_same_as_a_missing_key_and_what_is_given_goes_to_the_engine() -> None:
    asked = read_own(Route, {"query": "x", "deny": None, "allow": ["a"], "dial": None, "user": "u"})
    assert asked.of_engine(2.5) == {"dial": 2.5, "allow": ["a"], "top": 5}
    goal = read_own(Batch, {"queries": ["x"], "budget_usd_per_1k": 1, "top": 2})
    assert goal.of_engine(2.5) == {"dial": None, "budget_usd_per_1k": 1.0, "top": 2}
    assert read_own(Batch, {"queries": ["x"], "dial": [3]}).of_engine(2.5)["dial"] == [3.0]


def test_every_wrong_field_of_a_conversation_is_told_at_once() -> None:
    wrong = {"messages": "hi", "stream": 1, "max_tokens": -1, "max_completion_tokens": True, "tools": {}}
    with pytest.raises(BodyError) as raised:
        ChatFields.read(wrong)
    assert str(raised.value) == (
        "messages must be a list of at least one message, got 'hi'; stream must be true or false, got 1; "
        "tools must be a list, got an object; max_tokens must be a whole number of tokens, got -1; "
        "max_completion_tokens must be a whole number of tokens, got true"
    )
    with pytest.raises(BodyError, match=r"^input must be text or a list of items, got 3$"):
        ResponseFields.read({"input": 3})


def test_messages_and_other_fields_stay_unread() -> None:
    class Untouched(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise AssertionError(key)

    message = Untouched(role=3)
    asked = ChatFields.read({"messages": [message], "temperature": object(), "tools": [3]})
    assert asked.messages[0] is message
    assert not hasattr(asked, "temperature")


def test_the_document_describes_the_models_that_check() -> None:
    schemas = document()["components"]["schemas"]
    assert schemas["Route"]["properties"].keys() == Route.model_fields.keys()
    assert schemas["Batch"]["additionalProperties"] is False
    assert schemas["Chat"]["properties"].keys() == {"model", *ChatFields.model_fields}
    assert schemas["Chat"]["properties"]["messages"]["items"]["required"] == ["role"]
