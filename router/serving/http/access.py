"""Who may ask, and how much: Host, Origin, client key, rate limit, size and time of a body; before any path is read.

An ASGI layer around the application. It also writes one structured line a request and turns every error of ours, and
what nobody foresaw, into OpenAI's shape. Knows no path but those that are open.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.errors import NoCandidateError, RouterError
from router.serving.client_keys import Key
from router.serving.engine import EngineClosedError
from router.serving.lanes import QueueFullError
from router.serving.protocol.errors import RequestError, retry_after
from router.serving.service import Service, Setup
from router.serving.settings import is_loopback
from router.serving.upstreams.client import StreamBrokenError

logger = logging.getLogger(__name__)
OPEN = ("/health",)  # without a key
KINDS = ("application/json", "multipart/form-data")  # of bodies; what a web page can send unasked is not among them
CORS_SECONDS = "600"


class ClientLeftError(Exception):
    """Nobody waits for the answer any more."""


class Access:
    """The layer; `app.state.service` of the application inside is asked for settings, keys and metrics."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        service: Service = scope["app"].state.service
        seen = _Seen(send)
        headers = Headers(scope=scope)
        started = time.monotonic()
        try:
            origin = _check_origin(headers, service.setup)
            seen.origin = origin
            _check_host(headers, scope, service.setup)
            if origin and scope["method"] == "OPTIONS":
                await _preflight(seen)
            else:
                self._check_key(scope, headers, service)
                _check_state(scope, service)
                await self.app(scope, _limited(receive, headers, service.setup), seen)
        except ClientLeftError:
            seen.status = seen.status or 499
        except StreamBrokenError:  # no event can say so: the connection is cut
            raise
        except RouterError as error:
            await _fail(seen, request_error(error))
        except Exception:
            logger.exception("a request failed here")
            await _fail(seen, RequestError("internal_error", "the server failed; its log says how"))
        finally:
            _note(scope, service, seen.status or 500, time.monotonic() - started)

    def _check_key(self, scope: Scope, headers: Headers, service: Service) -> None:
        """401 without a valid key where one is needed, 429 above its limit; the key goes into the scope."""
        keys = service.setup.keys
        if keys is None or scope["path"] in OPEN:
            return
        kind, _, secret = headers.get("authorization", "").partition(" ")
        key = keys.check(secret.strip()) if kind.lower() == "bearer" and secret.isascii() else None
        if key is None:
            raise RequestError(
                "invalid_api_key",
                "a valid client key is needed: send `Authorization: Bearer KEY`; `router keys create` makes one",
                {"www-authenticate": "Bearer"},
            )
        scope["router.key"] = key
        if (wait := service.limits.admit(key)) is not None:
            raise RequestError(
                "rate_limit_exceeded",
                f"more than {key.requests_per_minute} requests a minute with key {key.id}",
                retry_after(wait),
            )


def count_queries(scope: Scope, service: Service, queries: int) -> None:
    """Count a batch, admitted as one request, as one for each of its queries: 429 above the limit, 400 for too many."""
    key: Key | None = scope.get("router.key")
    if key is None or key.requests_per_minute is None:
        return
    limit = key.requests_per_minute
    told = f"each of the {queries:,} queries counts as a request, and key {key.id} has {limit:,} requests a minute"
    if queries > limit:
        raise RequestError("invalid_request", f"{told}: send at most {limit:,} queries at a time")
    if (wait := service.limits.admit(key, queries, paid=1)) is not None:
        raise RequestError("rate_limit_exceeded", told, retry_after(wait))


def request_error(error: RouterError) -> RequestError:
    """What a client is told of an error of this project's."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, QueueFullError):
        return RequestError("queue_full", str(error), retry_after(1))
    if isinstance(error, EngineClosedError):
        return RequestError("shutting_down", "the server is shutting down: ask another replica", retry_after(1))
    if isinstance(error, NoCandidateError):
        return RequestError("no_candidate", str(error))
    return RequestError("invalid_request", str(error))


class _Seen:
    """Sends, and remembers what was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.origin: str | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            added = [(b"x-content-type-options", b"nosniff")]
            if self.origin:
                added += [(b"access-control-allow-origin", self.origin.encode()), (b"vary", b"Origin")]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await self._send(message)


def _check_host(headers: Headers, scope: Scope, setup: Setup) -> None:
    """403 where Host names another machine than this: a page in a browser may have had its name point here."""
    settings, given = setup.settings, headers.getlist("host")
    name = _host_name(given[0]) if len(given) == 1 else ""
    allowed = name in settings.hosts or name == settings.host
    if settings.is_loopback:
        allowed = allowed or is_loopback(name)
    elif not settings.hosts:
        allowed = len(given) == 1  # keys guard it
    if not allowed and scope["path"] not in OPEN:
        raise RequestError("forbidden_host", "the request's Host is none of this server's; serve.hosts adds names")


def _host_name(host: str) -> str:
    """The host without its port.

    >>> _host_name("localhost:8080"), _host_name("[::1]:80"), _host_name("Example.com")
    ('localhost', '::1', 'example.com')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _check_origin(headers: Headers, setup: Setup) -> str | None:
    """The origin of a web page that may ask; 403 for another one."""
    origin = headers.get("origin")
    if origin is None:
        return None
    if origin not in setup.settings.origins:
        raise RequestError("forbidden_origin", "web pages of this origin may not ask here; serve.origins adds some")
    return origin


def _check_state(scope: Scope, service: Service) -> None:
    if scope["path"] in ("/health", "/metrics", "/openapi.json"):
        return
    if service.stopping:
        raise RequestError("shutting_down", "the server is shutting down: ask another replica", retry_after(1))
    if not service.ready:
        raise RequestError("not_ready", "the server is still loading", retry_after(1))


def _limited(receive: Receive, headers: Headers, setup: Setup) -> Receive:
    """`receive` that ends a body which is too large, too slow or compressed."""
    most = setup.settings.max_body_bytes
    until = time.monotonic() + setup.settings.body_timeout_s
    size, whole = 0, False
    declared = headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared) > most:
        raise RequestError("body_too_large", f"the body has {int(declared):,} bytes, at most {most:,} are read")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError("unsupported_media_type", "send the body without a content-encoding")
    kind = headers.get("content-type", KINDS[0]).partition(";")[0].strip().lower()
    if kind not in KINDS:
        raise RequestError("unsupported_media_type", f"the content type is {kind[:80]!r}; send {' or '.join(KINDS)}")

    async def limited() -> Message:
        nonlocal size, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout(max(until - time.monotonic(), 0.001)):
                message = await receive()
        except TimeoutError:
            raise RequestError("body_timeout", "the body did not arrive in time") from None
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        size += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if size > most:
            raise RequestError("body_too_large", f"at most {most:,} bytes of a body are read")
        return message

    return limited


async def _preflight(send: _Seen) -> None:
    headers = [
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", b"authorization, content-type, x-session-id"),
        (b"access-control-max-age", CORS_SECONDS.encode()),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _fail(send: _Seen, error: RequestError) -> None:
    """The error as an answer; where one has begun nothing can be said any more, and the connection is cut."""
    if send.status is not None:
        raise error
    body = error.body
    headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _note(scope: MutableMapping[str, Any], service: Service, status: int, seconds: float) -> None:
    """Count the request and write its line: no body, no query, no header."""
    path = getattr(scope.get("route"), "path", None) or scope["path"]
    service.metrics.answered(path, status)
    key: Key | None = scope.get("router.key")
    fields = {
        "method": scope["method"],
        "path": path[:200],
        "status": status,
        "ms": round(seconds * 1000, 1),
        "key": key.id if key else None,
        **scope.get("router.decided", {}),  # of a routed request
    }
    logger.info("request", extra={"fields": {name: value for name, value in fields.items() if value is not None}})
