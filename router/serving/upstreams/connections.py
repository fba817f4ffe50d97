"""Connection pool for httpx: one httpx pool for each connection, the one used last is taken first.

httpcore examines every connection of a pool, with a system call for each idle one, whenever a request begins or ends.
With 16 connections in one pool that was a third of the gateway's work.
"""

from __future__ import annotations

import ssl
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator

import httpx

SWEEP_S = 1.0  # between searches for connections that were idle for too long

Origin = tuple[bytes, bytes, int | None]


class PooledTransport(httpx.AsyncBaseTransport):
    """An `httpx.AsyncHTTPTransport` for hundreds of concurrent requests."""

    def __init__(self, keepalive_s: float = 30.0) -> None:
        self._limits = httpx.Limits(max_connections=None, max_keepalive_connections=1, keepalive_expiry=keepalive_s)
        self._trust = httpx.create_ssl_context(trust_env=False)  # reads certificates for 150 ms: once, not per pool
        self._keepalive_s = keepalive_s
        self._idle: defaultdict[Origin, deque[_Connection]] = defaultdict(deque)  # the longest idle first
        self._all: set[_Connection] = set()
        self._swept_s = time.monotonic()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response, over the connection to its origin that was used last, or over a new one."""
        await self._sweep()
        idle = self._idle[request.url.raw_scheme, request.url.raw_host, request.url.port]
        if idle:
            connection = idle.pop()
        else:
            self._all.add(connection := _Connection(self._limits, self._trust, idle))
        try:
            response = await connection.transport.handle_async_request(request)
        except BaseException:
            connection.release()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Body(response.stream, connection)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for each in list(self._all):
            await each.transport.aclose()

    async def _sweep(self) -> None:
        """Close connections that were idle for longer than `keepalive_s`."""
        now = time.monotonic()
        if now - self._swept_s < SWEEP_S:
            return
        self._swept_s = now
        for idle in self._idle.values():
            while idle and now - idle[0].idle_since_s > self._keepalive_s:
                old = idle.popleft()
                self._all.discard(old)
                await old.transport.aclose()


class _Connection:
    """An httpx pool of one connection."""

    def __init__(self, limits: httpx.Limits, trust: ssl.SSLContext, idle: deque[_Connection]) -> None:
        self.transport = httpx.AsyncHTTPTransport(verify=trust, limits=limits, trust_env=False)
        self.idle_since_s = 0.0
        self._idle = idle

    def release(self) -> None:
        """Make the connection available to another request."""
        self.idle_since_s = time.monotonic()
        self._idle.append(self)


class _Body(httpx.AsyncByteStream):
    """A response body that releases its connection when closed."""

    def __init__(self, stream: httpx.AsyncByteStream, connection: _Connection) -> None:
        self._stream = stream
        self._connection: _Connection | None = connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        """Close the body and release the connection; may be called again."""
        connection, self._connection = self._connection, None
        try:
            await self._stream.aclose()
        finally:
            if connection is not None:
                connection.release()
