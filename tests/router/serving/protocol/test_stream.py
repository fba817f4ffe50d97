"""Whole events of a stream, at a cost that grows with its bytes alone."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from router.serving.protocol import stream as relay
from router.serving.protocol.stream import Events


class Touched:
    """Counts the bytes that pass through the pattern and the buffer of `relay`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        touched, pattern = self, relay._END
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

        monkeypatch.setattr(relay, "_END", Pattern())
        monkeypatch.setattr(relay, "bytearray", Buffer, raising=False)


@pytest.mark.parametrize("size", [1, 100, 5000])
@pytest.mark.parametrize("events", [1, 10])
def test_each_byte_of_a_large_event_is_touched_a_few_times_however_it_arrives(
    monkeypatch: pytest.MonkeyPatch, size: int, events: int
) -> None:
    raw = (b"data: " + b"x" * (20_000 // events) + b"\r\n\r\n") * events
    touched, passed = Touched(monkeypatch), b""
    whole = Events()
    for at in range(0, len(raw), size):
        passed += whole.whole(raw[at : at + size])
    assert passed == raw
    seams = 2 * 3 * len(raw) // size  # the end of what is held may be the beginning of an event's end
    assert len(raw) < touched.count < 5 * len(raw) + seams


def test_events_pass_as_if_all_that_is_held_were_read_at_each_chunk() -> None:
    draw = random.Random(0)
    for _ in range(300):
        raw = bytes(draw.choices(b"\r\n\nx", k=draw.randrange(1, 40)))
        events, held = Events(), b""
        while raw:
            size = draw.randrange(1, 6)
            held, raw, passed = held + raw[:size], raw[size:], events.whole(raw[:size])
            ends = [each.end() for each in re.finditer(rb"\r?\n\r?\n", held)]
            assert passed == held[: ends[-1] if ends else 0]
            held = held[len(passed) :]
        assert events.rest() == held
