"""Outcomes of attempts: statuses and error bodies of upstreams, and what follows from them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from router.serving.upstreams.outcomes import Outcome, check_answer, of_status


def body(message: str = "", code: object = None) -> bytes:
    return json.dumps({"error": {"message": message, "code": code}}).encode()


@pytest.mark.parametrize(
    ("status", "raw", "kind"),
    [
        (200, b"", "answered"),
        (204, b"", "answered"),
        (400, body("bad"), "refused"),
        (400, body(code="context_length_exceeded"), "context_length"),
        (400, body("This model's maximum context length is 8192 tokens"), "context_length"),
        (413, body("prompt is too long: 9 > 8"), "context_length"),
        (400, body(code="content_filter"), "content_filter"),
        (400, body("triggered Azure OpenAI's content management policy"), "content_filter"),
        (401, body("the content filter"), "misconfigured"),
        (403, body(), "misconfigured"),
        (404, b"<html>", "not_found"),
        (404, body("no such file", "model_not_found"), "misconfigured"),
        (404, body("x", "DeploymentNotFound"), "misconfigured"),
        (404, body("The model `gpt-9` does not exist.", 404), "misconfigured"),
        (404, body('model "llama9" not found, try pulling it first'), "misconfigured"),
        (404, body("The requested model 'x' is not available"), "misconfigured"),
        (404, body("litellm.NotFoundError: OpenAIException - The model x does not exist"), "misconfigured"),
        (404, body("model: claude-9", "not_found_error"), "misconfigured"),
        (404, b'{"detail": "Not Found"}', "not_found"),
        (404, body("No such File object: the model x does not exist"), "not_found"),
        (404, body("model x does not exist", "file_not_found"), "not_found"),
        (408, b"", "timeout"),
        (422, b'{"error": "text"}', "refused"),
        (429, b"", "rate_limited"),
        (500, b"[1]", "server_error"),
        (502, b"null", "server_error"),
        (503, b"", "overloaded"),
        (504, b"", "timeout"),
        (301, b"", "broken"),
        (101, b"", "broken"),
    ],
)
def test_the_kind_of_an_answer(status: int, raw: bytes, kind: str) -> None:
    assert of_status(status, {}, raw).kind == kind


@pytest.mark.parametrize(
    ("kind", "against", "falls", "falls_if_sure", "billed"),
    [
        ("answered", False, False, False, False),
        ("refused", False, False, False, False),
        ("left", False, False, False, True),
        ("context_length", False, True, True, False),
        ("content_filter", False, True, True, False),
        ("not_found", False, True, True, False),
        ("rate_limited", True, True, True, False),
        ("misconfigured", True, True, True, False),
        ("unreachable", True, True, True, False),
        ("overloaded", True, True, True, False),
        ("server_error", True, True, False, True),
        ("timeout", True, True, False, True),
        ("broken", True, True, False, True),
    ],
)
def test_what_follows_from_each_kind(kind: str, against: bool, falls: bool, falls_if_sure: bool, billed: bool) -> None:
    outcome = Outcome(kind)
    found = (outcome.against_breaker, outcome.falls_back(True), outcome.falls_back(False), outcome.possibly_billed)
    assert found == (against, falls, falls_if_sure, billed)


def test_of_a_request_passed_on_only_what_no_client_can_bring_about_counts() -> None:
    kinds = ["answered", "refused", "left", "context_length", "content_filter", "not_found", "rate_limited",
             "misconfigured", "unreachable", "overloaded", "server_error", "timeout", "broken"]  # fmt: skip
    counting = {kind for kind in kinds if Outcome(kind).against_breaker_passed_on}
    assert counting == {"unreachable", "overloaded", "server_error", "timeout"}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("1e9", 3600.0), ("soon", None), ("nan", None), (None, None)],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    headers = {} if value is None else {"retry-after": value}
    assert of_status(429, headers, b"").retry_after_s == seconds
    assert of_status(500, headers, b"").retry_after_s is None


def test_retry_after_as_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    found = of_status(503, {"retry-after": date}, b"").retry_after_s
    assert found is not None and 28 < found <= 30


@pytest.mark.parametrize(
    ("kind", "raw", "streamed", "wrong"),
    [
        ("application/json", b"{}", False, ""),
        ("Application/JSON; charset=utf-8", b"{}", False, ""),
        ("application/json", None, False, ""),
        ("text/event-stream", None, True, ""),
        ("application/json", None, True, ""),
        ("text/html", b"{}", False, "content type text/html"),
        ("", b"{}", False, "content type missing"),
        ("text/event-stream", None, False, "content type text/event-stream, expected application/json"),
        ("application/json", b'{"a":', False, "not JSON"),
        ("application/json", b"[]", False, "no object"),
        ("application/json", b"[" * 10**5, False, "not JSON"),
    ],
)
def test_a_success_that_is_none(kind: str, raw: bytes | None, streamed: bool, wrong: str) -> None:
    found = check_answer(kind, raw, streamed)
    assert found.startswith(wrong) if wrong.startswith("content") else wrong in found
    assert bool(found) == bool(wrong)
