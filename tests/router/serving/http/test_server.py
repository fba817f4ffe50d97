"""The server process: its socket, its limits, and heads of requests that are too large or too late."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import uvicorn
from fixtures.fault_upstream import FaultUpstream
from fixtures.served import pool_file, serving
from starlette.types import Receive, Scope, Send
from threadpoolctl import threadpool_info, threadpool_limits

from router.checkpoint.checkpoint import Checkpoint
from router.encoding.onnx_encoder import OnnxEncoder
from router.errors import UsageError
from router.routing.router import Router
from router.serving.http import server
from router.serving.http.server import MAX_HEAD_BYTES, GuardedProtocol, listen, run_until_stopped
from router.serving.service import ConfigLoader, GatewayState, freeze_garbage
from router.serving.settings import ServeSettings

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1, port {port}: .*; choose another"):
            listen(ServeSettings(port=port))


def test_the_process_may_have_as_many_files_open_as_the_system_grants() -> None:
    code = (
        "import resource as r; from router.serving.http.server import allow_connections;"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, 900)); allow_connections(); print(r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(900, 900)"


def test_while_it_serves_numpy_multiplies_by_one_thread_and_what_was_loaded_is_left_to_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def threads() -> set[int]:
        return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}

    async def run(*_: object) -> None:
        seen.append((threads(), gc.get_freeze_count() > 0))

    seen: list[tuple[set[int], bool]] = []
    monkeypatch.setattr(server, "run", run)
    try:
        with threadpool_limits(2, user_api="blas"), listen(ServeSettings(port=0)) as listening:
            run_until_stopped(cast(GatewayState, None), listening)
            assert threads() == {2}
    finally:
        gc.unfreeze()
    assert seen == [({1}, True)]


def test_what_a_reload_replaces_does_not_stay(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with serving(tiny_checkpoint, tmp_path) as served:
        served.chat()
        before = weakref.ref(served.state.engine.router)
        freeze_garbage()
        try:
            assert asyncio.run(served.state.reload())
            assert before() is None
            assert gc.get_freeze_count() > 0
        finally:
            gc.unfreeze()


def test_two_batches_are_under_way_and_share_the_encoder_on_a_cpu(tiny_router: Path, tmp_path: Path) -> None:
    loader = ConfigLoader(
        pool_file(tmp_path, [FaultUpstream("a", port=9)]), lambda: Router.from_pretrained(tiny_router), {"port": 0}
    )
    router, snapshot = loader.load()
    state = GatewayState(loader, router, snapshot)
    assert isinstance(router.encoder, OnnxEncoder) and router.encoder._beside is not None
    assert len(state.engine._workers) == 2
    state.engine.close()
    router.device = "cuda"
    state = GatewayState(loader, router, snapshot)
    assert len(state.engine._workers) == 1, "a GPU takes one batch at a time"
    state.engine.close()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers in parts, slowly on /slow."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(8 if scope["path"] == "/slow" else 1):
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await asyncio.sleep(0.1 if scope["path"] == "/slow" else 0)
    await send({"type": "http.response.body", "body": b"end"})


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], socket.socket]]:
    """A function that connects to a server whose clients have 0.3 s for a head."""
    monkeypatch.setattr(server, "HEAD_S", 0.3)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=GuardedProtocol, lifespan="off", ws="none", log_config=None)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve([listening])), daemon=True)
    thread.start()
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(listening.getsockname(), timeout=60))
    running.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


def rest(connection: socket.socket) -> bytes:
    """All bytes until the server hangs up."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            answer += part
    return answer


def test_a_request_is_answered_and_another_one_on_the_same_connection(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    for _ in range(2):
        connection.sendall(HEAD + b"\r\n")
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):  # it may come in parts
            part = connection.recv(1000)
            assert part, "the connection stays"
            answer += part
        assert answer.startswith(b"HTTP/1.1 200")
        time.sleep(0.4)  # longer than a head may take
    connection.sendall(HEAD + b"connection: close\r\n\r\n")
    assert b"200 OK" in rest(connection)


def test_a_head_that_never_ends_is_answered_and_hung_up_on(connect: Callable[[], socket.socket]) -> None:
    started = time.monotonic()
    connection = connect()
    connection.sendall(HEAD)
    answer = rest(connection)  # raises where nobody hangs up
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b'"code": "headers_timeout"' in answer
    assert time.monotonic() - started > 0.2


def test_one_that_comes_drop_by_drop_has_no_more_time(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(HEAD)
    for _ in range(1200):  # a minute
        if select.select([connection], [], [], 0.05)[0]:
            break
        connection.sendall(b"x")
    else:
        pytest.fail("each drop had a time of its own")
    assert rest(connection).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_connection_that_says_nothing_is_closed_without_a_word(connect: Callable[[], socket.socket]) -> None:
    assert rest(connect()) == b""


def test_a_second_head_that_never_ends_is_hung_up_on_too(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(HEAD + b"\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    connection.sendall(HEAD)
    assert b"HTTP/1.1 408" in rest(connection)


def test_an_answer_under_way_is_not_cut_by_the_next_heads_time(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(HEAD.replace(b"/ ", b"/slow ", 1) + b"\r\n")
    time.sleep(0.1)
    connection.sendall(b"GET")
    answer = rest(connection)
    assert answer.count(b"part") == 8
    assert b"end" in answer


@pytest.mark.parametrize("line", [b"y" * MAX_HEAD_BYTES, b"x: y\r\n" * (MAX_HEAD_BYTES // 6)], ids=["one", "many"])
def test_a_head_that_is_too_large_is_refused_before_it_ends(connect: Callable[[], socket.socket], line: bytes) -> None:
    connection = connect()
    connection.sendall(HEAD + b"x: " + line)  # just above, so that all is read and the answer is not lost with a reset
    answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b'"code": "headers_too_large"' in answer
