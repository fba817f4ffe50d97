"""HTTP server (uvicorn): start, warm-up, reload on SIGHUP, shutdown on SIGTERM, header limits.

One process serves one port; replicas are further processes. Bodies are limited by `router.serving.http.access`.
"""

import asyncio
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus

import uvicorn
from threadpoolctl import threadpool_limits
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.errors import UsageError
from router.serving.http.app import make_app
from router.serving.protocol.errors import RequestError
from router.serving.service import GatewayState, freeze_garbage
from router.serving.settings import ServeSettings

logger = logging.getLogger(__name__)
BACKLOG = 2048
KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that the client closes first
MAX_HEAD_BYTES = 64 * 1024  # of request line and headers, plus at most one read of the socket
HEAD_S = 15.0  # from the connection, or the first byte of a further request, to the end of the head


def listen(settings: ServeSettings) -> socket.socket:
    """A listening socket at the host and port of the settings. UsageError if the address cannot be bound."""
    host = settings.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
        # Without the protocol asyncio leaves Nagle's algorithm on, and each response waits 40 ms for an ACK.
        listening = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
        return listening
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen on {settings.host}, port {settings.port}: {why}; choose another") from error


def run_until_stopped(state: GatewayState, listening: socket.socket) -> None:
    """`run` in an event loop of its own, uvloop's if that is installed.

    Meanwhile numpy multiplies with one thread. Its products are small, and idle threads of OpenBLAS spin: beside each
    batch of queries they took as much of a processor as the encoder.
    """
    allow_connections()
    freeze_garbage()
    config = uvicorn.Config(lambda: None, log_config=None)
    with threadpool_limits(1, user_api="blas"), asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run(state, listening))


def allow_connections() -> None:
    """Raise the limit of open files as far as the system allows: a stream takes two, the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # a system may allow less than it reports
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run(state: GatewayState, listening: socket.socket, stop: asyncio.Event | None = None) -> None:
    """Serve until SIGTERM, SIGINT or `stop`; return after requests in progress had `drain_s` to end."""
    settings = state.snapshot.settings
    server = _Server(
        uvicorn.Config(
            make_app(state),
            http=GuardedProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(int(settings.drain_s), 1),
        ),
        state,
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    stopping = asyncio.create_task((stop or asyncio.Event()).wait())
    stopping.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await state.warm()
        host, port = listening.getsockname()[:2]
        logger.info("ready on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        await serving
    finally:
        stopping.cancel()
        server.should_exit = True
        await asyncio.wait({serving})
        await state.close()


class _Server(uvicorn.Server):
    """Uvicorn's server with signals that let the log be written, and a reload on SIGHUP."""

    def __init__(self, config: uvicorn.Config, state: GatewayState) -> None:
        super().__init__(config)
        self._state = state
        self._reloading: asyncio.Task[bool] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop the server on SIGTERM and SIGINT, at once on a second one; reload on SIGHUP.

        Uvicorn's own version would end the process before the decision log is written.
        """
        loop = asyncio.get_running_loop()
        actions: dict[int, Callable[[], None]] = {signal.SIGHUP: self._reload}
        actions |= {each: partial(self.handle_exit, each, None) for each in (signal.SIGTERM, signal.SIGINT)}
        with suppress(ValueError, RuntimeError):  # not the main thread
            for each, action in actions.items():
                loop.add_signal_handler(each, action)
        try:
            yield
        finally:
            for each in actions:
                loop.remove_signal_handler(each)

    def _reload(self) -> None:
        if self._reloading is not None and not self._reloading.done():
            logger.warning("a reload is under way already")
        else:
            self._reloading = asyncio.create_task(self._state.reload())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse further requests, then uvicorn's shutdown: close idle connections and wait for the others."""
        logger.info("stopping: requests under way are answered")
        self._state.stopping = True
        await super().shutdown(sockets)


class GuardedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol of one connection, with limits on the size and the time of a request's head.

    Without them one connection without a key could fill the memory, and many could stay open for ever.
    """

    _late: asyncio.TimerHandle | None = None  # set while a head is incomplete
    _head_bytes = 0  # received of that head

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Start the timer for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data; refuse a head that has grown too large."""
        super().data_received(data)
        if self._late is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse("headers_too_large", f"at most {MAX_HEAD_BYTES:,} bytes of headers are read")

    def on_message_begin(self) -> None:
        """Start the timer for a further request."""
        super().on_message_begin()
        if self._late is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """Stop the timer: the head is complete."""
        self._arrived()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._late = asyncio.get_running_loop().call_later(HEAD_S, self._is_late)

    def _arrived(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late, self._head_bytes = None, 0

    def _is_late(self) -> None:
        if self._answering:  # an earlier request, whose response the client may be reading
            self._wait()
        else:
            self._refuse("headers_timeout", "the request's headers did not arrive in time")

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, code: str, message: str) -> None:
        """Close the connection, with an error response if a head has begun and no other response is in progress."""
        error = RequestError(code, message)
        if self._head_bytes and not self._answering and not self.transport.is_closing():
            head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
            head += f"content-length: {len(error.body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode() + error.body)
        self._arrived()
        self.transport.close()
