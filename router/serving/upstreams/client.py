"""The upstreams of a pool over one pooled HTTP client: a request goes out, an outcome and perhaps an answer come back.

Knows addresses and keys, and keeps both to itself. Neither redirects nor proxies of the environment are followed, so
that nothing but the configured addresses is contacted. Retries nothing: that is `router.serving.upstreams.failover`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx

from router.pools.pool import Candidate, Pool, Upstream
from router.pools.schema import OPENAI
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
JSON_TYPE = (b"content-type", b"application/json")
ODD_REQUEST = RequestError("invalid_request", "the path or query is too long, or has signs that are not passed on")
OWN_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "inferencedynamics"}
PASSED_ON = ("content-type", "accept", "openai-beta")  # of a client's headers


@dataclass(eq=False)
class Target:
    """One model's upstream, with what is known of it now."""

    candidate: Candidate
    upstream: Upstream
    breaker: Breaker
    load: Load
    key: str | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """The candidate's."""
        return self.candidate.id


@dataclass
class Answer:
    """What came back. Of a stream the first bytes have come; whoever takes it closes it."""

    outcome: Outcome
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    stream: Stream | None = None
    latency_s: float = 0.0


@dataclass(frozen=True)
class Ask:
    """A request as it is sent to whichever upstream."""

    method: str
    path: str  # from behind /v1, such as /chat/completions
    query: str
    headers: Mapping[str, str]  # of those in PASSED_ON
    checked: bool  # its answer has to be JSON or a stream of events, and is looked at
    streams: bool
    passed_on: bool  # the client named the model: no probe, and errors that it may have brought about do not count


class Upstreams:
    """All targets of a pool by model id."""

    def __init__(
        self, pool: Pool, settings: ServeSettings, environment: Mapping[str, str], old: Upstreams | None = None
    ):
        """`old`: what is known of upstreams that stay as they were is kept, and so are their connections.

        Raises UsageError where a key cannot be read.
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
                if before.key == key:  # else it may have been the old one that was refused
                    breaker = before.breaker
                    breaker.failures, breaker.open_s = settings.breaker_failures, settings.breaker_open_s
            self.targets[candidate.id] = Target(candidate, candidate.upstream, breaker, load, key)
        self.client: httpx.AsyncClient = old.client if old else _client()

    def available(self) -> set[str]:
        """The models whose upstreams may be asked now."""
        return {name for name, target in self.targets.items() if target.breaker.admits()}

    def pressure(self) -> dict[str, float]:
        """Each model's load, from 0 to 1."""
        return {name: target.load.pressure() for name, target in self.targets.items()}

    def breaker_states(self) -> dict[str, str]:
        """Each model's breaker: closed, open or half_open."""
        return {name: target.breaker.state for name, target in self.targets.items()}

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()

    async def ask(self, target: Target, ask: Ask, body: bytes, within_s: float) -> Answer:
        """Send `body` to a target; the answer, or of a stream its beginning, comes within `within_s`.

        Every failure is an `Outcome`; only cancellation raises. Breaker and load take note of all.
        """
        probe = not ask.passed_on and target.breaker.enter()
        target.load.started()
        started = time.monotonic()
        answer = Answer(Outcome(LEFT))
        try:
            async with asyncio.timeout(min(within_s, target.upstream.timeout_s) if ask.checked else within_s):
                answer = await self._exchange(target, ask, body)
        except TimeoutError:
            answer = Answer(Outcome("timeout", detail="no answer in time"))
        finally:
            answer.latency_s = time.monotonic() - started
            _note(target, answer, probe, ask.passed_on)
        return answer

    async def _exchange(self, target: Target, ask: Ask, body: bytes) -> Answer:
        try:
            request = self._request(target, ask, body)
        except (httpx.InvalidURL, UnicodeError) as error:
            return Answer(Outcome(REFUSED, 400, type(error).__name__), [JSON_TYPE], ODD_REQUEST.body)
        try:
            response = await self.client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            return Answer(Outcome("unreachable", detail=type(error).__name__))
        except httpx.TimeoutException as error:
            return Answer(Outcome("timeout", detail=type(error).__name__))
        except httpx.HTTPError as error:
            return Answer(Outcome("broken", detail=type(error).__name__))
        opened = False
        try:
            answer = await self._read(target, ask, response)
            opened = answer.stream is not None
            return answer
        except httpx.TimeoutException as error:
            return Answer(Outcome("timeout", response.status_code, type(error).__name__))
        except httpx.HTTPError as error:
            return Answer(Outcome("broken", response.status_code, type(error).__name__))
        finally:
            if not opened:
                await response.aclose()

    @staticmethod
    def _request(target: Target, ask: Ask, body: bytes) -> httpx.Request:
        headers = dict(OWN_HEADERS) | {name: value for name, value in ask.headers.items() if name in PASSED_ON}
        if target.key is not None:
            headers["authorization"] = f"Bearer {target.key}"
        seconds = target.upstream.timeout_s
        by_sdk = target.upstream.provider != OPENAI  # which is told `api_base` and makes the address of it
        base = f"litellm://{target.upstream.provider}" if by_sdk else target.upstream.api_base.rstrip("/")
        url = _url(base + ask.path + (f"?{ask.query}" if ask.query else ""))
        limits = httpx.Timeout(seconds, connect=min(CONNECT_S, seconds)).as_dict()
        extensions: dict[str, Any] = {"timeout": limits}
        if by_sdk:
            extensions |= {UPSTREAM: target.upstream, KEY: target.key}
        # Not by the client, which would put its own headers, cookies and address before those of each request.
        return httpx.Request(ask.method, url, content=body, headers=headers, extensions=extensions)

    async def _read(self, target: Target, ask: Ask, response: httpx.Response) -> Answer:
        """The answer as far as it has to be seen before a byte of it is passed on."""
        status, kind = response.status_code, response.headers.get("content-type", "")
        headers = [each for each in passed_headers(response.headers.raw) if each[1] == _without(target.key, each[1])]
        plain = not response.headers.get("content-encoding")  # what was asked for; else it is passed on unseen
        if not 200 <= status < 300:
            body, _ = await _limited(response, LARGEST_ERROR)
            body = _without(target.key, body)  # which upstreams repeat when they do not accept it
            return Answer(of_status(status, response.headers, body), headers, body)
        if ask.checked and (wrong := check_answer(kind, None, ask.streams)):
            return Answer(Outcome("broken", status, wrong))
        if ask.streams or not ask.checked:
            chunks = response.aiter_raw()
            first = await anext(chunks, b"")
            if not first and ask.checked:
                return Answer(Outcome("broken", status, "an empty stream"))
            stream = Stream(target, response, first, chunks)
            return Answer(Outcome(ANSWERED, status), headers, stream=stream)
        body, whole = await _limited(response, LARGEST_ANSWER)
        if not whole:
            return Answer(Outcome("broken", status, f"an answer above {LARGEST_ANSWER:,} bytes"))
        if plain and (wrong := check_answer(kind, body, ask.streams)):
            return Answer(Outcome("broken", status, wrong))
        return Answer(Outcome(ANSWERED, status), headers, body)


@lru_cache(maxsize=1024)
def _url(text: str) -> httpx.URL:
    """Parsed once: most requests go to few addresses."""
    return httpx.URL(text)


def _without(key: str | None, raw: bytes) -> bytes:
    """`raw` without the upstream's key."""
    return raw.replace(key.encode(), b"[key]") if key else raw


def _client() -> httpx.AsyncClient:
    client = httpx.AsyncClient(
        transport=PooledTransport(),
        mounts={"litellm://": LiteLLMTransport()},  # imports LiteLLM when it is first asked
        follow_redirects=False,
        trust_env=False,
    )
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # one client's are not another's
    return client


def _note(target: Target, answer: Answer, probe: bool, passed_on: bool) -> None:
    """Let breaker and load know; a stream does so itself when it ends."""
    outcome = answer.outcome
    if answer.stream is not None:
        answer.stream.probe, answer.stream.passed_on = probe, passed_on
        target.load.began(answer.latency_s)
        return
    if outcome.against_breaker_passed_on if passed_on else outcome.against_breaker:
        # One path's Retry-After, which a client chose to ask for, does not stop what is routed.
        target.breaker.failed(probe, None if passed_on else outcome.retry_after_s, passed_on=passed_on)
    elif outcome.kind == LEFT or (passed_on and outcome.kind != ANSWERED):
        target.breaker.left(probe)
    else:
        target.breaker.succeeded(probe, passed_on=passed_on)
    counts = outcome.kind in (ANSWERED, "timeout")  # how long an error took says little
    target.load.ended(answer.latency_s if counts else None)


async def _limited(response: httpx.Response, most: int) -> tuple[bytes, bool]:
    """At most `most` bytes of a body, and whether that is all of it."""
    parts: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > most:
            return b"".join(parts), False
        parts.append(chunk)
    return b"".join(parts), True


class Stream:
    """The bytes of an answer that has begun; StreamBrokenError where they end too early. Close it with `aclose`."""

    def __init__(self, target: Target, response: httpx.Response, first: bytes, chunks: AsyncIterator[bytes]) -> None:
        self._target, self._response, self._first, self._chunks = target, response, first, chunks
        self._closed = False
        self._told = False  # the breaker, how it ended: else one that always breaks would look well at each beginning
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
            self._tell(partial(self._target.breaker.succeeded, passed_on=self.passed_on))
            raise
        except httpx.HTTPError as error:
            breaker = self._target.breaker
            counts = not self.passed_on or isinstance(error, httpx.TimeoutException)
            self._tell(partial(breaker.failed, passed_on=self.passed_on) if counts else breaker.left)
            raise StreamBrokenError(type(error).__name__) from error

    def _tell(self, what: Callable[[bool], None]) -> None:
        if not self._told:
            self._told = True
            what(self.probe)

    async def aclose(self) -> None:
        """Let the connection go, back to the pool where the answer was read to its end."""
        if not self._closed:
            self._closed = True
            self._tell(self._target.breaker.left)
            self._target.load.ended()
            await asyncio.shield(self._response.aclose())


class StreamBrokenError(Exception):
    """An answer that had begun ended too early."""


def is_safe_path(path: str) -> bool:
    """Whether a path leads nowhere but below the upstream's address.

    >>> [is_safe_path(path) for path in ("/files/f-1", "/../admin", "//host/x", "/%2e%2e/x", "/")]
    [True, False, False, False, False]
    """
    names = re.fullmatch(r"(/[A-Za-z0-9_.~:-]+)+", path) is not None
    return names and not any(set(part) == {"."} for part in path.split("/") if part)
