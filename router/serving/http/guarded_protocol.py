"""Uvicorn's HTTP protocol with limits on a request's head, line and headers: its size, and the time until it is there.

Uvicorn has neither, so that one connection without a key could fill the memory, and many could stay for ever. Knows no
application; bodies are limited by `router.serving.http.access`.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.serving.protocol.errors import RequestError

MAX_HEAD_BYTES = 64 * 1024  # and at most one read of the socket more
HEAD_S = 15.0  # from the connection, or a further request's first byte, to the end of its head


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    _late: asyncio.TimerHandle | None = None  # while a head is waited for
    _head_bytes = 0  # of it so far

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for the first request."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head has grown too large."""
        super().data_received(data)
        if self._late is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse("headers_too_large", f"at most {MAX_HEAD_BYTES:,} bytes of headers are read")

    def on_message_begin(self) -> None:
        """The first byte of a request came."""
        super().on_message_begin()
        if self._late is None:
            self._head_bytes = 0
            self._wait()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._arrived()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._late = asyncio.get_running_loop().call_later(HEAD_S, self._is_late)

    def _arrived(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _is_late(self) -> None:
        if self._answering:  # the request before, which the client may be reading
            self._wait()
        else:
            self._refuse("headers_timeout", "the request's headers did not arrive in time")

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, code: str, message: str) -> None:
        """Say why, where somebody asked and nothing else is being said, and hang up."""
        self._arrived()
        error = RequestError(code, message)
        if self._head_bytes and not self._answering and not self.transport.is_closing():
            head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
            head += f"content-length: {len(error.body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode() + error.body)
        self.transport.close()
