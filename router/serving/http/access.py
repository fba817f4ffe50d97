"""Access control, an ASGI middleware: Host, Origin, client key, rate limit, size and time of a body.

It also writes one structured log line a request and turns every exception into an error in OpenAI's shape. It knows no
path except those that need no key or no loaded router.
"""

import asyncio
import logging
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.errors import EngineClosedError, NoCandidateError, QueueFullError, RouterError
from router.serving.client_keys import Key
from router.serving.protocol.errors import RequestError, retry_after
from router.serving.service import GatewayState, Snapshot
from router.serving.settings import is_loopback
from router.serving.upstreams.client import StreamBrokenError

logger = logging.getLogger(__name__)
OPEN = ("/health",)  # paths without a key
JSON = "application/json"  # the type of bodies; a foreign web page may send forms and plain text, not this
PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, x-session-id",
    "access-control-max-age": "600",
}


class ClientLeftError(Exception):
    """The client disconnected before its response was complete."""


class Access:
    """The middleware; settings, keys and metrics come from `app.state.gateway` of the application inside."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state: GatewayState = scope["app"].state.gateway
        sender = _Sender(send)
        headers = Headers(scope=scope)
        started = time.monotonic()
        try:
            origin = _check_origin(headers, state.snapshot)
            sender.origin = origin
            _check_host(headers, scope, state.snapshot)
            if origin and scope["method"] == "OPTIONS":
                await Response(status_code=204, headers=PREFLIGHT)(scope, receive, sender)
            else:
                self._check_key(scope, headers, state)
                _check_ready(scope, state)
                await self.app(scope, _limited(receive, headers, state.snapshot), sender)
        except ClientLeftError:
            sender.status = sender.status or 499
        except StreamBrokenError:  # cuts the connection: no event can say that the stream broke
            raise
        except RouterError as error:
            await sender.fail(scope, receive, request_error(error))
        except Exception:
            logger.exception("a request failed here")
            await sender.fail(scope, receive, RequestError("internal_error", "the server failed; its log says how"))
        finally:
            _note(scope, state, sender.status or 500, time.monotonic() - started)

    def _check_key(self, scope: Scope, headers: Headers, state: GatewayState) -> None:
        """Put the client key into the scope: 401 without a valid one where it is needed, 429 above its limit."""
        keys = state.snapshot.keys
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
        if (wait := state.limits.admit(key)) is not None:
            raise RequestError(
                "rate_limit_exceeded",
                f"more than {key.requests_per_minute} requests a minute with key {key.id}",
                retry_after(wait),
            )


def request_error(error: RouterError) -> RequestError:
    """The error for the client that stands for an exception of this project."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, QueueFullError):
        return RequestError("queue_full", str(error), retry_after(1))
    if isinstance(error, EngineClosedError):
        return RequestError("shutting_down", "the server is shutting down: ask another replica", retry_after(1))
    if isinstance(error, NoCandidateError):
        return RequestError("no_candidate", str(error))
    return RequestError("invalid_request", str(error))


def key_id(request: Request) -> str | None:
    """The id of the request's client key; None without a key."""
    key: Key | None = request.scope.get("router.key")
    return None if key is None else key.id


def count_queries(scope: Scope, state: GatewayState, queries: int) -> None:
    """Count each query of a batch, which was admitted as one request: 429 above the limit, 400 for too many queries."""
    key: Key | None = scope.get("router.key")
    if key is None or key.requests_per_minute is None:
        return
    limit = key.requests_per_minute
    message = f"each of the {queries:,} queries counts as a request, and key {key.id} has {limit:,} requests a minute"
    if queries > limit:
        raise RequestError("invalid_request", f"{message}: send at most {limit:,} queries at a time")
    if (wait := state.limits.admit(key, queries, paid=1)) is not None:
        raise RequestError("rate_limit_exceeded", message, retry_after(wait))


class _Sender:
    """A `send` that adds headers to every response and remembers the status."""

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

    async def fail(self, scope: Scope, receive: Receive, error: RequestError) -> None:
        """Send the error as the response; if another one has begun, raise, which cuts the connection."""
        if self.status is not None:
            raise error
        await Response(error.body, error.status, error.headers, "application/json")(scope, receive, self)


def _check_host(headers: Headers, scope: Scope, snapshot: Snapshot) -> None:
    """Raise 403 if Host names another machine: a web page may let its own name point here (DNS rebinding)."""
    settings, given = snapshot.settings, headers.getlist("host")
    name = _host_name(given[0]) if len(given) == 1 else ""
    allowed = name in settings.hosts or name == settings.host
    if settings.is_loopback:
        allowed = allowed or is_loopback(name)
    elif not settings.hosts:
        allowed = len(given) == 1  # client keys protect this server
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


def _check_origin(headers: Headers, snapshot: Snapshot) -> str | None:
    """The origin of an allowed web page, None without one; raises 403 for another origin."""
    origin = headers.get("origin")
    if origin is None:
        return None
    if origin not in snapshot.settings.origins:
        raise RequestError("forbidden_origin", "web pages of this origin may not ask here; serve.origins adds some")
    return origin


def _check_ready(scope: Scope, state: GatewayState) -> None:
    if scope["path"] in ("/health", "/metrics", "/openapi.json"):
        return
    if state.stopping:
        raise RequestError("shutting_down", "the server is shutting down: ask another replica", retry_after(1))
    if not state.ready:
        raise RequestError("not_ready", "the server is still loading", retry_after(1))


def _limited(receive: Receive, headers: Headers, snapshot: Snapshot) -> Receive:
    """A `receive` that refuses a body which is too large, too slow, compressed or of another type."""
    most = snapshot.settings.max_body_bytes
    until = time.monotonic() + snapshot.settings.body_timeout_s
    size, whole = 0, False
    declared = headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared) > most:
        raise RequestError("body_too_large", f"the body has {int(declared):,} bytes, at most {most:,} are read")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError("unsupported_media_type", "send the body without a content-encoding")
    kind = headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind != JSON:
        raise RequestError(
            "unsupported_media_type",
            f"the content type is {kind[:80]!r}, but the gateway reads and passes on JSON bodies only: send {JSON}, "
            "and a form (to upload a file, say) to the upstream directly",
        )

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


def _note(scope: MutableMapping[str, Any], state: GatewayState, status: int, seconds: float) -> None:
    """Count the request and write its log line, without body, query string and headers."""
    path = getattr(scope.get("route"), "path", None) or scope["path"]
    state.metrics.answered(path, status)
    key: Key | None = scope.get("router.key")
    fields = {
        "method": scope["method"],
        "path": path[:200],
        "status": status,
        "ms": round(seconds * 1000, 1),
        "key": key.id if key else None,
        **scope.get("router.decided", {}),  # for a routed request
    }
    logger.info("request", extra={"fields": {name: value for name, value in fields.items() if value is not None}})
