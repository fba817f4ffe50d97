"""Heads of requests that are too large or too late, before any application sees them."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from router.serving.http import guarded_protocol
from router.serving.http.guarded_protocol import MAX_HEAD_BYTES, GuardedProtocol

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the path, slowly for /slow."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(8 if scope["path"] == "/slow" else 1):
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await asyncio.sleep(0.1 if scope["path"] == "/slow" else 0)
    await send({"type": "http.response.body", "body": b"end"})


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], socket.socket]]:
    """Makes a connection to a server whose clients have 0.3 s for a head."""
    monkeypatch.setattr(guarded_protocol, "HEAD_S", 0.3)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=GuardedProtocol, lifespan="off", ws="none", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(listening.getsockname(), timeout=60))
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


def rest(connection: socket.socket) -> bytes:
    """Everything until the server hangs up."""
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
