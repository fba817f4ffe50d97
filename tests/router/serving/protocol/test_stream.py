"""Streams: reported tokens, passed headers, and whole events at a cost that grows with their bytes alone."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator

import pytest

from router.serving.protocol import stream
from router.serving.protocol.stream import LARGEST_EVENT, EventBuffer, Tail, error_event, passed_headers, usage_of


class Touched:
    """Counts the bytes that pass through the pattern and the buffer of `stream`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        touched, pattern = self, stream._END
        self.count = 0

        class Pattern:
            def finditer(self, text: bytes, start: int = 0) -> Iterator[re.Match[bytes]]:
                touched.count += len(text) - start
                return pattern.finditer(text, start)

        class Buffer(bytearray):
            def __iadd__(self, more: bytes) -> Buffer:  # type: ignore[override]
                touched.count += len(more)
                return super().__iadd__(more)

            def __getitem__(self, place: slice) -> bytearray:  # type: ignore[override]
                touched.count += len(range(*place.indices(len(self))))
                return super().__getitem__(place)

            def __delitem__(self, place: slice) -> None:  # type: ignore[override]
                touched.count += len(self) - len(range(*place.indices(len(self))))  # what is left may move
                super().__delitem__(place)

        monkeypatch.setattr(stream, "_END", Pattern())
        monkeypatch.setattr(stream, "bytearray", Buffer, raising=False)


@pytest.mark.parametrize("size", [1, 100, 5000])
@pytest.mark.parametrize("events", [1, 10])
def test_each_byte_of_a_large_event_is_touched_a_few_times_however_it_arrives(
    monkeypatch: pytest.MonkeyPatch, size: int, events: int
) -> None:
    raw = (b"data: " + b"x" * (20_000 // events) + b"\r\n\r\n") * events
    touched, passed = Touched(monkeypatch), b""
    buffer = EventBuffer()
    for at in range(0, len(raw), size):
        passed += buffer.push(raw[at : at + size])
    assert passed == raw
    seams = 2 * 3 * len(raw) // size  # the end of what is held may be the beginning of an event's end
    assert len(raw) < touched.count < 5 * len(raw) + seams


def test_events_pass_as_if_all_that_is_held_were_read_at_each_chunk() -> None:
    draw = random.Random(0)
    for _ in range(300):
        raw = bytes(draw.choices(b"\r\n\nx", k=draw.randrange(1, 40)))
        events, held = EventBuffer(), b""
        while raw:
            size = draw.randrange(1, 6)
            held, raw, passed = held + raw[:size], raw[size:], events.push(raw[:size])
            ends = [each.end() for each in re.finditer(rb"\r?\n\r?\n", held)]
            assert passed == held[: ends[-1] if ends else 0]
            held = held[len(passed) :]
        assert events.rest() == held


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
    events, passed = EventBuffer(), b""
    for at in range(0, len(raw), 5):
        part = events.push(raw[at : at + 5])
        assert part == b"" or part.endswith((b"\n\n", b"\r\n\r\n"))
        passed += part
    assert passed == raw[: -len(b"data: half")]
    assert events.rest() == b"data: half"
    huge = b"x" * (LARGEST_EVENT + 1)
    assert events.push(huge) == huge


def test_four_mebibytes_of_an_event_are_held_back_and_no_byte_more() -> None:
    events = EventBuffer()
    assert events.push(b"x" * 4_194_303) == b""
    assert events.push(b"x") == b""
    assert events.push(b"y") == b"x" * 4_194_304 + b"y"
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
