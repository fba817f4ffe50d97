"""What upstreams answer, read: outcomes and what follows, tokens, whole events, headers that pass, errors' shape."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from router.errors import NoCandidateError, PoolError, QueueFullError
from router.serving.protocol.errors import FAILURES, RequestError, request_error
from router.serving.protocol.stream import LARGEST_EVENT, Events, Tail, error_event, passed_headers, usage_of
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


@pytest.mark.parametrize(
    ("raw", "tokens"),
    [
        (b'{"usage": {"prompt_tokens": 7, "completion_tokens": 2}}', (7, 2)),
        (b'{"usage":{"input_tokens":7,"output_tokens":2,"d":{"x":[1]}},"z":1}', (7, 2)),
        (b'data: {"usage": null}\n\ndata: {"usage": {"prompt_tokens": 3}}\n\ndata: [DONE]\n\n', (3, None)),
        (b'{"usage": {"prompt_tokens": 1}} {"usage": {"prompt_tokens": 2}}', (2, None)),
        (b'{"text": "\\"usage\\": {\\"prompt_tokens\\": 9}"}', (None, None)),
        (b'{"usage": {"prompt_tokens": -1, "completion_tokens": true}}', (None, None)),
        (b'{"usage": {"prompt_tok', (None, None)),
        (b'{"usage": 3}', (None, None)),
        (b"", (None, None)),
    ],
)
def test_tokens_are_read_from_answers_and_streams(raw: bytes, tokens: tuple[int | None, int | None]) -> None:
    assert usage_of(raw) == tokens


def test_a_tail_stays_small_and_keeps_the_id() -> None:
    tail = Tail()
    tail.add(b'{"id": "resp_1", "x": "')
    for _ in range(100):
        tail.add(b"y" * 10_000)
    tail.add(b'", "usage": {"input_tokens": 5, "output_tokens": 6}}')
    assert len(tail.end) < 150_000
    assert len(tail.head) == 4096
    assert (tail.usage(), tail.response_id()) == ((5, 6), "resp_1")
    assert Tail(b'{"id": "chatcmpl-1"}').response_id() is None


def test_events_pass_whole_and_nothing_is_lost() -> None:
    raw = b"data: 1\n\ndata: 2\r\n\r\ndata: 3\n\ndata: half"
    events, passed = Events(), b""
    for at in range(0, len(raw), 5):
        part = events.whole(raw[at : at + 5])
        assert part == b"" or part.endswith((b"\n\n", b"\r\n\r\n"))
        passed += part
    assert passed == raw[: -len(b"data: half")]
    assert events.rest() == b"data: half"
    huge = b"x" * (LARGEST_EVENT + 1)
    assert events.whole(huge) == huge


def test_four_mebibytes_of_an_event_are_held_back_and_no_byte_more() -> None:
    events = Events()
    assert events.whole(b"x" * 4_194_303) == b""
    assert events.whole(b"x") == b""
    assert events.whole(b"y") == b"x" * 4_194_304 + b"y"
    assert events.rest() == b""


def test_an_error_event_is_what_official_clients_raise_on() -> None:
    chat = json.loads(error_event("/v1/chat/completions", "upstream_failed", "broke").removeprefix(b"data: "))
    assert chat["error"]["code"] == "upstream_failed"
    event, data, *_ = error_event("/v1/responses", "upstream_failed", "broke").split(b"\n")
    assert event == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["type"] == "error"


def test_headers_that_are_ours_hop_by_hop_or_secret_do_not_pass() -> None:
    raw = [(b"Content-Type", b"a"), (b"Set-Cookie", b"s"), (b"Connection", b"close"), (b"X-Router-Model", b"x"),
           (b"X-RateLimit-Remaining", b"3"), (b"Location", b"http://10.0.0.1"), (b"Content-Length", b"3")]  # fmt: skip
    assert passed_headers(raw) == [(b"content-type", b"a"), (b"x-ratelimit-remaining", b"3")]


def test_errors_of_the_project_become_those_of_the_protocol() -> None:
    assert request_error(QueueFullError("full")).status == 503
    assert request_error(QueueFullError("full")).headers == {"retry-after": "1"}
    assert request_error(NoCandidateError("none")).code == "no_candidate"
    assert request_error(PoolError("x")).code == "invalid_request"
    kept = RequestError("not_found", "gone")
    assert request_error(kept) is kept
    assert json.loads(kept.body)["error"] == {
        "message": "gone", "type": "invalid_request_error", "param": None, "code": "not_found"
    }  # fmt: skip
    assert all(400 <= status < 600 for status, _ in FAILURES.values())
