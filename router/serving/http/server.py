"""Runs the application by uvicorn on a socket: start, warm-up, SIGHUP, and the drain when it is told to stop.

One process, one port; replicas are further processes. Knows the application's state only to open and close it.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

import uvicorn
from threadpoolctl import threadpool_limits
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.errors import UsageError
from router.serving.http.app import make_app
from router.serving.protocol.errors import RequestError
from router.serving.service import Service, leave_to_stay
from router.serving.settings import ServeSettings

logger = logging.getLogger(__name__)
BACKLOG = 2048
KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that it is them who close
MAX_HEAD_BYTES = 64 * 1024  # and at most one read of the socket more
HEAD_S = 15.0  # from the connection, or a further request's first byte, to the end of its head


def listen(settings: ServeSettings) -> socket.socket:
    """A socket at the settings' host and port. UsageError where that is taken or not this machine's."""
    host = settings.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
        # With the protocol named: else asyncio leaves Nagle's algorithm on, and each answer waits 40 ms for an ACK.
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


def run_until_stopped(service: Service, listening: socket.socket) -> None:
    """`run` in an event loop of its own: uvloop's where that is installed.

    numpy multiplies by one thread meanwhile. Its products are small, and threads of OpenBLAS wait for their next one by
    spinning: beside each batch of queries that took as much of a processor as the encoder.
    """
    allow_connections()
    leave_to_stay()
    config = uvicorn.Config(lambda: None, log_config=None)
    with (
        threadpool_limits(1, user_api="blas"),
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
    ):
        runner.run(run(service, listening))


def allow_connections() -> None:
    """Let this process have as many files open as the system grants: a stream takes two, 1,024 is usual at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # a system may grant less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run(service: Service, listening: socket.socket, stop: asyncio.Event | None = None) -> None:
    """Serve until SIGTERM or SIGINT, or until `stop`; returns when requests under way had `drain_s` to end."""
    settings = service.setup.settings
    server = _Server(
        uvicorn.Config(
            make_app(service),
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
        on_stop=lambda: setattr(service, "stopping", True),
    )
    reloads = _reload_on_hangup(service)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    watching = asyncio.create_task(_stop_when(stop, server)) if stop is not None else None
    try:
        await service.warm()
        host, port = listening.getsockname()[:2]
        logger.info("ready on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        await serving
    finally:
        reloads()
        if watching is not None:
            watching.cancel()
        server.should_exit = True
        await asyncio.wait({serving})
        await service.close()


class _Server(uvicorn.Server):
    """Lets /health say at once that the server is stopping."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the server, a second one at once. Uvicorn's own would end the process before the log
        is written."""
        loop = asyncio.get_running_loop()
        caught = []
        for each in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(each, self.handle_exit, each, None)
                caught.append(each)
            except (ValueError, RuntimeError, NotImplementedError):  # not the main thread, or no signals
                break
        try:
            yield
        finally:
            for each in caught:
                loop.remove_signal_handler(each)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's: no new connections, those that are idle closed, the others waited for."""
        logger.info("stopping: requests under way are answered")
        self._on_stop()
        await super().shutdown(sockets)


async def _stop_when(stop: asyncio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


def _reload_on_hangup(service: Service) -> Callable[[], None]:
    """SIGHUP reloads, where there are signals and this is the main thread; what undoes it comes back."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[bool]] = set()

    def reload() -> None:
        if running:
            logger.warning("a reload is under way already")
            return
        task = asyncio.create_task(service.reload())
        running.add(task)
        task.add_done_callback(running.discard)

    try:
        loop.add_signal_handler(signal.SIGHUP, reload)
    except (ValueError, RuntimeError, NotImplementedError, AttributeError):
        return lambda: None

    def undo() -> None:
        loop.remove_signal_handler(signal.SIGHUP)

    return undo


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
