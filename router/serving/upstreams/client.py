"""HTTP client for the upstreams of a pool: sends one request to one upstream and returns its outcome and response.

It holds addresses and keys and shows them to nobody. It follows neither redirects nor proxies of the environment, so
that it contacts the configured addresses only. It does not retry: `router.serving.upstreams.failover` does.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx

from router.pools.pool import OPENAI, Candidate, Pool, Upstream
from router.pools.upstream_keys import upstream_key
from router.serving.protocol.errors import RequestError
from router.serving.protocol.stream import passed_headers
from router.serving.settings import ServeSettings
from router.serving.upstreams.breaker import Breaker
from router.serving.upstreams.connections import PooledTransport
from router.serving.upstreams.litellm import KEY, UPSTREAM, LiteLLMTransport
from router.serving.upstreams.load import Load
from router.serving.upstreams.outcomes import ANSWERED, LEFT, REFUSED, Outcome, check_answer, of_status

CONNECT_S = 10.0
LARGEST_ANSWER = 64 << 20  # bytes of an answer that is not streamed
LARGEST_ERROR = 1 << 20
UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
JSON_TYPE = (b"content-type", b"application/json")
ODD_REQUEST = RequestError("invalid_request", "the path or query is too long, or has signs that are not passed on")
OWN_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "inferencedynamics"}
parsed_url = lru_cache(maxsize=1024)(httpx.URL)  # most requests go to few addresses
PASSED_ON = ("content-type", "accept", "openai-beta")  # headers of a client that the upstream gets


@dataclass(eq=False)
class Target:
    """One model's upstream with its circuit breaker and its load."""

    candidate: Candidate
    upstream: Upstream
    breaker: Breaker
    load: Load
    key: str | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """The model id of the candidate."""
        return self.candidate.id

    def count(self, outcome: Outcome, probe: bool, passed_on: bool) -> None:
        """Count the end of a request in the breaker."""
        if outcome.against_breaker_passed_on if passed_on else outcome.against_breaker:
            # The Retry-After of a path that a client chose must not stop routed requests.
            self.breaker.failed(probe, None if passed_on else outcome.retry_after_s, passed_on=passed_on)
        elif outcome.kind == LEFT or (passed_on and outcome.kind != ANSWERED):
            self.breaker.left(probe)
        else:
            self.breaker.succeeded(probe, passed_on=passed_on)


@dataclass
class UpstreamResponse:
    """The response to an `UpstreamRequest`. A stream has its first bytes already, and the caller closes it."""

    outcome: Outcome
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    stream: Stream | None = None
    latency_s: float = 0.0


@dataclass(frozen=True)
class UpstreamRequest:
    """A request that can be sent to any upstream; the body, which names the model, is apart."""

    method: str
    path: str  # without /v1, such as /chat/completions
    query: str
    headers: Mapping[str, str]  # those in PASSED_ON
    checked: bool  # the response must be JSON or a stream of events, and is validated
    streams: bool
    passed_on: bool  # the client named the model: never a probe; errors that the client may have caused do not count


class Upstreams:
    """All targets of a pool by model id."""

    def __init__(
        self, pool: Pool, settings: ServeSettings, environment: Mapping[str, str], old: Upstreams | None = None
    ):
        """Targets for every candidate that has an upstream.

        `old`: breakers and loads of unchanged upstreams are kept, and so are all connections.
        Raises UsageError if a key cannot be read.
        """
        self.targets: dict[str, Target] = {}
        for candidate in pool.candidates:
            if candidate.upstream is None:
                continue
            before = old.targets.get(candidate.id) if old else None
            key = upstream_key(candidate.upstream, environment)
            breaker = Breaker(settings.breaker_failures, settings.breaker_open_s)
            load = Load(candidate.upstream.limits)
            if before is not None and before.upstream == candidate.upstream:
                load = before.load
                if before.key == key:  # with another key the old failures say nothing
                    breaker = before.breaker
                    breaker.failures, breaker.open_s = settings.breaker_failures, settings.breaker_open_s
            self.targets[candidate.id] = Target(candidate, candidate.upstream, breaker, load, key)
        if old is not None:
            self.client: httpx.AsyncClient = old.client
            return
        self.client = httpx.AsyncClient(
            transport=PooledTransport(),
            mounts={"litellm://": LiteLLMTransport()},  # imports LiteLLM on its first request
            follow_redirects=False,
            trust_env=False,
        )
        # Cookies must not leak between clients.
        self.client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def available(self) -> set[str]:
        """Ids of the models whose breakers admit a request now."""
        return {name for name, target in self.targets.items() if target.breaker.admits()}

    def pressure(self) -> dict[str, float]:
        """Load by model id, from 0 to 1."""
        return {name: target.load.pressure() for name, target in self.targets.items()}

    def breaker_states(self) -> dict[str, str]:
        """State of the breaker by model id: closed, open or half_open."""
        return {name: target.breaker.state for name, target in self.targets.items()}

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()

    async def send(self, target: Target, request: UpstreamRequest, body: bytes, within_s: float) -> UpstreamResponse:
        """The response of a target to `body`, or the beginning of a streamed one, within `within_s` seconds.

        Every failure is an `Outcome`; only cancellation raises. Breaker and load count each request.
        """
        probe = not request.passed_on and target.breaker.enter()
        target.load.started()
        started = time.monotonic()
        response = UpstreamResponse(Outcome(LEFT))
        try:
            async with asyncio.timeout(min(within_s, target.upstream.timeout_s) if request.checked else within_s):
                response = await self._exchange(target, request, body)
        except TimeoutError:
            response = UpstreamResponse(Outcome("timeout", detail="no answer in time"))
        finally:
            response.latency_s = time.monotonic() - started
            if response.stream is not None:  # counts itself when it ends
                response.stream.probe, response.stream.passed_on = probe, request.passed_on
                target.load.began(response.latency_s)
            else:
                target.count(response.outcome, probe, request.passed_on)
                counts = response.outcome.kind in (ANSWERED, "timeout")  # the latency of an error says little
                target.load.ended(response.latency_s if counts else None)
        return response

    async def _exchange(self, target: Target, request: UpstreamRequest, body: bytes) -> UpstreamResponse:
        try:
            http_request = self._http_request(target, request, body)
        except (httpx.InvalidURL, UnicodeError) as error:
            return UpstreamResponse(Outcome(REFUSED, 400, type(error).__name__), [JSON_TYPE], ODD_REQUEST.body)
        reply: httpx.Response | None = None
        opened = False
        try:
            reply = await self.client.send(http_request, stream=True)
            response = await self._read(target, request, reply)
            opened = response.stream is not None
            return response
        except httpx.HTTPError as error:
            broken = "timeout" if isinstance(error, httpx.TimeoutException) else "broken"
            kind = "unreachable" if isinstance(error, UNREACHABLE) else broken
            return UpstreamResponse(Outcome(kind, reply.status_code if reply else None, type(error).__name__))
        finally:
            if reply is not None and not opened:
                await reply.aclose()

    @staticmethod
    def _http_request(target: Target, request: UpstreamRequest, body: bytes) -> httpx.Request:
        headers = dict(OWN_HEADERS) | {name: value for name, value in request.headers.items() if name in PASSED_ON}
        if target.key is not None:
            headers["authorization"] = f"Bearer {target.key}"
        seconds = target.upstream.timeout_s
        by_sdk = target.upstream.provider != OPENAI  # the SDK builds the address from `api_base`
        base = f"litellm://{target.upstream.provider}" if by_sdk else target.upstream.api_base.rstrip("/")
        url = parsed_url(base + request.path + (f"?{request.query}" if request.query else ""))
        extensions: dict[str, Any] = {"timeout": httpx.Timeout(seconds, connect=min(CONNECT_S, seconds)).as_dict()}
        if by_sdk:
            extensions |= {UPSTREAM: target.upstream, KEY: target.key}
        # Not `client.build_request`, which would merge in its own headers, cookies and base address.
        return httpx.Request(request.method, url, content=body, headers=headers, extensions=extensions)

    async def _read(self, target: Target, request: UpstreamRequest, reply: httpx.Response) -> UpstreamResponse:
        """The response, read as far as it must be validated before its first byte is passed on."""
        status, kind = reply.status_code, reply.headers.get("content-type", "")
        headers = [each for each in passed_headers(reply.headers.raw) if each[1] == _without(target.key, each[1])]
        if not 200 <= status < 300:
            body, _ = await _limited(reply, LARGEST_ERROR)
            body = _without(target.key, body)  # some upstreams quote a key that they refuse
            return UpstreamResponse(of_status(status, reply.headers, body), headers, body)
        if request.checked and (wrong := check_answer(kind, None, request.streams)):
            return UpstreamResponse(Outcome("broken", status, wrong))
        if request.streams or not request.checked:
            chunks = reply.aiter_raw()
            first = await anext(chunks, b"")
            if not first and request.checked:
                return UpstreamResponse(Outcome("broken", status, "an empty stream"))
            stream = Stream(target, reply, first, chunks)
            return UpstreamResponse(Outcome(ANSWERED, status), headers, stream=stream)
        body, whole = await _limited(reply, LARGEST_ANSWER)
        if not whole:
            return UpstreamResponse(Outcome("broken", status, f"an answer above {LARGEST_ANSWER:,} bytes"))
        encoded = reply.headers.get("content-encoding")  # passed on without validation
        if not encoded and (wrong := check_answer(kind, body, request.streams)):
            return UpstreamResponse(Outcome("broken", status, wrong))
        return UpstreamResponse(Outcome(ANSWERED, status), headers, body)


def _without(key: str | None, raw: bytes) -> bytes:
    """`raw` without the upstream's key."""
    return raw.replace(key.encode(), b"[key]") if key else raw


async def _limited(reply: httpx.Response, most: int) -> tuple[bytes, bool]:
    """At most `most` bytes of a body, and whether they are the whole body."""
    parts: list[bytes] = []
    size = 0
    async for chunk in reply.aiter_raw():
        size += len(chunk)
        if size > most:
            return b"".join(parts), False
        parts.append(chunk)
    return b"".join(parts), True


class Stream:
    """The bytes of a response that has begun; StreamBrokenError if they end too early. Close it with `aclose`."""

    def __init__(self, target: Target, reply: httpx.Response, first: bytes, chunks: AsyncIterator[bytes]) -> None:
        self._target, self._reply, self._first, self._chunks = target, reply, first, chunks
        self._closed = False
        self._counted = False  # the breaker counts a stream at its end: one that always breaks begins well
        self.probe = self.passed_on = False

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            self._count(ANSWERED)
            raise
        except httpx.HTTPError as error:
            self._count("timeout" if isinstance(error, httpx.TimeoutException) else "broken")
            raise StreamBrokenError(type(error).__name__) from error

    def _count(self, kind: str) -> None:
        if not self._counted:
            self._counted = True
            self._target.count(Outcome(kind), self.probe, self.passed_on)

    async def aclose(self) -> None:
        """Release the connection, to the pool if the response was read to its end."""
        if not self._closed:
            self._closed = True
            self._count(LEFT)
            self._target.load.ended()
            await asyncio.shield(self._reply.aclose())


class StreamBrokenError(Exception):
    """A response that had begun ended too early."""


def is_safe_path(path: str) -> bool:
    """Whether a path stays below the upstream's address.

    >>> [is_safe_path(path) for path in ("/files/f-1", "/../admin", "//host/x", "/%2e%2e/x", "/")]
    [True, False, False, False, False]
    """
    names = re.fullmatch(r"(/[A-Za-z0-9_.~:-]+)+", path) is not None
    return names and not any(set(part) == {"."} for part in path.split("/") if part)
