"""What passes from an upstream to a client: which headers, whole events of a stream, and the tokens it reports. Pure.

Knows OpenAI's wire format and nothing of who speaks it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from router.serving.protocol.errors import error_object

# Hop by hop, set anew here, or of no concern to clients; anything of ours is added later.
DROPPED = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "content-length", "date", "server", "set-cookie", "alt-svc", "strict-transport-security", "location",
    "authorization", "www-authenticate",
}  # fmt: skip
TAIL_BYTES = 1 << 16
LARGEST_EVENT = 1 << 22  # bytes held back until an event is whole; a larger one is passed on in parts
_END = re.compile(rb"\r?\n\r?\n")
LONGEST_END = 4  # bytes
_USAGE = re.compile(rb'(?<!\\)"usage"\s*:\s*\{')
_RESPONSE_ID = re.compile(rb'"id"\s*:\s*"(resp[^"\\]{1,200})"')


def passed_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an upstream's answer that its client gets, names in lower case."""
    lowered = ((name.lower(), value) for name, value in headers)
    return [
        (name, value)
        for name, value in lowered
        if (text := name.decode("latin-1")) not in DROPPED and not text.startswith(("x-router-", "access-control-"))
    ]


@dataclass
class Tail:
    """The last bytes of an answer, which hold what it cost, and the first, which hold its id."""

    head: bytes = b""
    end: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes) -> None:
        """Note what is passed on."""
        if len(self.head) < 4096:
            self.head += chunk[: 4096 - len(self.head)]
        self.end += chunk
        if len(self.end) > 2 * TAIL_BYTES:
            del self.end[:-TAIL_BYTES]

    def usage(self) -> tuple[int | None, int | None]:
        """Tokens of input and of output; None where the upstream did not report them."""
        return usage_of(bytes(self.end))

    def response_id(self) -> str | None:
        """The id of a kept response, by which a later request may go on from it."""
        found = _RESPONSE_ID.search(self.head)
        return found[1].decode("latin-1") if found else None


def usage_of(raw: bytes) -> tuple[int | None, int | None]:
    """Tokens of input and output that the last `usage` in an answer, or in a stream, reports.

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


class Events:
    """Passes a stream on in whole events, so that one which breaks can end with a clear one."""

    def __init__(self) -> None:
        self._held = bytearray()

    def whole(self, chunk: bytes) -> bytes:
        """What may be passed on now that `chunk` came. Scans that alone, not what is held already."""
        start = max(len(self._held) - LONGEST_END + 1, 0)  # an end may have begun before it
        self._held += chunk
        cut = 0
        for end in _END.finditer(self._held, start):
            cut = end.end()
        if not cut and len(self._held) > LARGEST_EVENT:
            cut = len(self._held)
        return self._taken(cut) if cut else b""

    def rest(self) -> bytes:
        """What is left at the end of a stream that ended well."""
        return self._taken(len(self._held))

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken


def error_event(path: str, code: str, message: str) -> bytes:
    """The event that ends a broken stream; official clients raise an error on it."""
    raw = error_object(code, message)
    if path.endswith("/responses"):
        raw = {"type": "error", "code": code, "message": message, "param": None, "sequence_number": 0} | raw
        return b"event: error\ndata: " + json.dumps(raw).encode() + b"\n\n"
    return b"data: " + json.dumps(raw).encode() + b"\n\n"
