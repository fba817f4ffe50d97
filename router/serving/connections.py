"""Many pooled connections by httpx: several small pools in place of one large one, filled one after the other.

httpcore looks at every connection of a pool, and for each idle one at every other, whenever a request begins or ends:
with 500 in one pool that takes most of a core. Knows no upstream.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx

SHARD = 24  # requests under way in one pool


class ShardedTransport(httpx.AsyncBaseTransport):
    """As `httpx.AsyncHTTPTransport`, for hundreds of requests under way."""

    def __init__(self, keepalive_s: float = 30.0) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=SHARD, keepalive_expiry=keepalive_s)
        self._limits = limits
        self._trust = httpx.create_ssl_context(trust_env=False)  # 150 ms of reading certificates: once, not per pool
        self._shards: list[_Shard] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, by the first pool that has room."""
        shard = next((each for each in self._shards if each.under_way < SHARD), None)
        if shard is None:
            self._shards.append(shard := _Shard(self._limits, self._trust))
        shard.under_way += 1
        try:
            response = await shard.transport.handle_async_request(request)
        except BaseException:
            shard.under_way -= 1
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers.raw,
            stream=_Counted(response.stream, shard),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        for shard in self._shards:
            await shard.transport.aclose()


class _Shard:
    def __init__(self, limits: httpx.Limits, trust: ssl.SSLContext) -> None:
        self.transport = httpx.AsyncHTTPTransport(verify=trust, limits=limits, trust_env=False)
        self.under_way = 0


class _Counted(httpx.AsyncByteStream):
    """A body whose end makes room in its pool."""

    def __init__(self, stream: httpx.AsyncByteStream, shard: _Shard) -> None:
        self._stream = stream
        self._shard: _Shard | None = shard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        """Let the connection go; may be called again."""
        if self._shard is not None:
            self._shard.under_way -= 1
            self._shard = None
        await self._stream.aclose()
