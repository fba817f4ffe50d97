"""Streams in OpenAI's wire format: headers to pass on, complete server-sent events, reported token counts.

No input or output. This module knows neither upstreams nor clients.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from router.serving.protocol.errors import error_object

# Hop by hop, set anew by this server, or none of the client's business.
DROPPED = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "content-length", "date", "server", "set-cookie", "alt-svc", "strict-transport-security", "location",
    "authorization", "www-authenticate",
}  # fmt: skip
TAIL_BYTES = 1 << 16
LARGEST_EVENT = 1 << 22  # bytes held back until an event is complete; a larger one is passed on in parts
_END = re.compile(rb"\r?\n\r?\n")
LONGEST_END = 4  # bytes
_USAGE = re.compile(rb'(?<!\\)"usage"\s*:\s*\{')
_RESPONSE_ID = re.compile(rb'"id"\s*:\s*"(resp[^"\\]{1,200})"')


def passed_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an upstream's response that the client gets, with names in lower case."""
    lowered = ((name.lower(), value) for name, value in headers)
    return [
        (name, value)
        for name, value in lowered
        if (text := name.decode("latin-1")) not in DROPPED and not text.startswith(("x-router-", "access-control-"))
    ]


@dataclass
class Tail:
    """The last bytes of a response, which report its tokens, and the first, which hold its id."""

    head: bytes = b""
    end: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes) -> None:
        """Remember a chunk that is passed on."""
        if len(self.head) < 4096:
            self.head += chunk[: 4096 - len(self.head)]
        self.end += chunk
        if len(self.end) > 2 * TAIL_BYTES:
            del self.end[:-TAIL_BYTES]

    def usage(self) -> tuple[int | None, int | None]:
        """Tokens of input and of output; None if the upstream did not report them."""
        return usage_of(bytes(self.end))

    def response_id(self) -> str | None:
        """The id of a stored response, from which a later request may continue."""
        found = _RESPONSE_ID.search(self.head)
        return found[1].decode("latin-1") if found else None


def usage_of(raw: bytes) -> tuple[int | None, int | None]:
    """Tokens of input and output in the last `usage` of a response or of a stream.

    >>> usage_of(b'{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}')
    (7, 2)
    """
    places = [found.end() - 1 for found in _USAGE.finditer(raw)]
    if not places:
        return None, None
    try:
        usage, _ = json.JSONDecoder().raw_decode(raw[places[-1] :].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None, None
    return _count(usage, "prompt_tokens", "input_tokens"), _count(usage, "completion_tokens", "output_tokens")


def _count(usage: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12:
            return value
    return None


class EventBuffer:
    """A buffer that passes a stream on in complete events, so that an error event can follow if the stream breaks."""

    def __init__(self) -> None:
        self._held = bytearray()

    def push(self, chunk: bytes) -> bytes:
        """The bytes that may be passed on after `chunk`. Scans `chunk` alone, not the bytes held already."""
        start = max(len(self._held) - LONGEST_END + 1, 0)  # an event's end may have begun before it
        self._held += chunk
        cut = 0
        for end in _END.finditer(self._held, start):
            cut = end.end()
        if not cut and len(self._held) > LARGEST_EVENT:
            cut = len(self._held)
        return self._taken(cut) if cut else b""

    def rest(self) -> bytes:
        """The bytes left at the end of a stream."""
        return self._taken(len(self._held))

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken


def error_event(path: str, code: str, message: str) -> bytes:
    """The event that ends a broken stream; OpenAI's clients raise an error on it."""
    raw = error_object(code, message)
    if path.endswith("/responses"):
        raw = {"type": "error", "code": code, "message": message, "param": None, "sequence_number": 0} | raw
        return b"event: error\ndata: " + json.dumps(raw).encode() + b"\n\n"
    return b"data: " + json.dumps(raw).encode() + b"\n\n"
