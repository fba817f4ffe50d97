"""Attacks on the gateway: by a hostile client, by a page in a browser, by an upstream that lies.

Raw bytes over sockets, since well-kept clients refuse to send most of this. What is asked of every request: no 5xx of
ours, nothing reaches another place than an upstream's own address, no secret comes back, nobody else has to wait.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures.served import Served, serving

from router.checkpoint.checkpoint import Checkpoint
from router.serving import client_keys
from router.serving.client_keys import KeyRing
from router.serving.http import response, server
from router.serving.telemetry.json_log import JsonFormatter

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "prove it"}]}


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("attacks")
    settings = {"decision_log": str(folder / "log.sqlite"), "body_timeout_s": 1.0, "passed_paths": ["/v1/files"]}
    with serving(tiny_checkpoint, folder, serve=settings) as found:
        yield found


@pytest.fixture(autouse=True)
def _forget(served: Served) -> None:
    for each in served.upstreams.values():
        each.requests.clear()


def asked(served: Served) -> list[str]:
    """The paths of the requests that upstreams got."""
    return [seen.path for each in served.upstreams.values() for seen in each.requests]


def exchange(port: int, raw: bytes, seconds: float = 60.0) -> bytes:
    """The server's response to these bytes, until it hangs up or sends nothing for a while."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(raw)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while part := connection.recv(65536):
                answer += part
                connection.settimeout(0.3)
    return answer


def http(
    target: bytes = b"/v1/chat/completions",
    body: Any = CHAT,
    host: bytes = b"localhost",
    more: bytes = b"",
    kind: bytes = b"application/json",
) -> bytes:
    """The bytes of a POST request with exactly these headers."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n"
    return head % (target, host, kind, len(raw), more) + raw


def status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d\d\d) ", answer)
    assert found, answer[:200]
    return int(found[1])


@pytest.mark.parametrize(
    "host",
    [
        b"localhost:1/v1/../admin?x=",
        b"localhost/elsewhere",
        b"localhost#",
        b"localhost:80@192.0.2.1",
        b"192.0.2.1#@localhost",
        b"localhost:abc",
        b"127.0.0.1.nip.io",
        b"localhost\r\nHost: 192.0.2.1",
        b"[::1",
        b"\xff\xfe",
    ],
    ids=repr,
)
@pytest.mark.parametrize("target", [b"/v1/chat/completions", b"/v1/embeddings"])
def test_no_host_makes_an_error_of_ours_or_another_path(served: Served, host: bytes, target: bytes) -> None:
    model = "auto" if target.endswith(b"completions") else "b"
    assert status(exchange(served.port, http(target, CHAT | {"model": model}, host))) < 500
    assert set(asked(served)) <= {target.decode()}


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/../admin",
        b"/v1/%2e%2e/admin",
        b"/v1/files/..%2f..%2fadmin",
        b"/v1/files/%2e%2e%2f%2e%2e%2fadmin",
        b"/v1//192.0.2.1/x",
        b"/v1/@192.0.2.1/x",
        b"/v1/files;/x",
        b"/v1/files/%0d%0aHost:%20192.0.2.1",
        b"/v1/files/\xe9",
        b"/v1/files/%ff",
        b"/v1/files?x=\xe9",
        b"/v1/files?x=%0d%0ax:y#f",
        b"/v1/files?" + b"x" * 70_000,
        b"/v1/" + b"f" * 70_000,
        b"http://192.0.2.1/v1/files",
        b"//192.0.2.1/v1/files",
        b"*",
        b"192.0.2.1:80",
    ],
    ids=lambda target: repr(target)[:50],
)
def test_no_path_leads_beyond_an_upstreams_address(served: Served, target: bytes) -> None:
    assert status(exchange(served.port, http(target, {"model": "b"}))) < 500
    assert [path for path in asked(served) if not re.fullmatch(r"/v1/files(\?[!-~]*)?", path)] == []


@pytest.mark.parametrize(
    "more",
    [
        b"Accept: \xe9\r\n",
        b"Idempotency-Key: \xff\r\n",
        b"OpenAI-Beta: x\x0by\r\n",
        b"X-Session-Id: \xe9\r\n",
        b"Authorization: Bearer \xff\r\n",
        b"Origin: \xff\r\n",
        b"Content-Encoding: \xff\r\n",
        b"Accept: a\r\n b\r\n",
        b"Expect: 200-maybe\r\n",
        b"X: " + b"y" * 100_000 + b"\r\n",
    ],
    ids=lambda more: repr(more)[:40],
)
def test_no_header_makes_an_error_of_ours(served: Served, more: bytes) -> None:
    assert status(exchange(served.port, http(more=more))) < 500
    assert status(exchange(served.port, http(kind=b"application/json; x=\xe9", more=more))) < 500


@pytest.mark.parametrize(
    "more",
    [
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
    ],
    ids=repr,
)
def test_a_request_hidden_in_anothers_body_is_never_answered_as_one_with_the_outer_one(
    served: Served, more: bytes
) -> None:
    hidden = http(b"/v1/files", {"model": "b"})
    answer = exchange(served.port, http(body=b"0\r\n\r\n" + hidden, more=more))
    assert status(answer) < 500
    assert asked(served) == []


@pytest.mark.parametrize(
    "model", ["b\r\nx-evil: 1", "b\n\nevil", "b\x00", "b\u2028x-evil: 1", "b ", "\ud800", "B", "b/../a"]
)
def test_a_models_name_becomes_no_header_and_no_path(served: Served, model: str) -> None:
    answer = exchange(served.port, http(body=CHAT | {"model": model}))
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert (status(answer), b"evil" in head, asked(served)) == (404, False, [])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"max_tokens": 10**4000}, 200),
        ({"max_tokens": 2**63}, 200),
        ({"max_completion_tokens": 2**64}, 200),
        ({"max_tokens": 1e400}, 400),
        ({"n": 10**4000, "seed": 10**4000}, 200),
        ({"stream": 1}, 400),
        ({"tools": [{"function": None}]}, 200),
        ({"user": "\ud800"}, 200),
        ({"user": "x" * 100_000}, 200),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}]}, 200),
        ({"messages": [{"role": "user", "content": "\x00" * 1000}]}, 200),
        ({"messages": [{"role": "user", "content": "\u202e" * 1000}] * 500}, 200),
        ({"messages": [{"role": "user", "content": ["x"] * 10_000}]}, 200),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_no_value_makes_an_error_of_ours(served: Served, change: dict[str, Any], expected: int) -> None:
    raw = json.dumps(CHAT | change).replace("Infinity", "1e400").encode()
    assert status(exchange(served.port, http(body=raw))) == expected
    assert len(asked(served)) == (expected == 200)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [  # 400: refused, of what is too large before any work is done on it
        ("/v1/route", {"query": "x", "context_tokens": 10**9}, 200),
        ("/v1/route", {"query": "x", "max_price_usd_per_mtok": 1e308}, 200),
        ("/v1/route", {"query": "x", "allow": ["*a" * 40 + "b"] * 2000}, 400),
        ("/v1/route", {"query": "x", "deny": ["[" * 1_000_000]}, 400),
        ("/v1/route", {"query": "x", "deny": [f"{number:03}" + "[" * 197 for number in range(100)]}, 200),
        ("/v1/route", {"query": "x", "deny": [f"{number:03}" + "[" * 197 for number in range(101)]}, 400),
        ("/v1/route", {"query": "x", "deny": ["[" * 201]}, 400),
        ("/v1/route", {"query": "x", "allow": ["a"] * 1_000_000}, 400),
        ("/v1/route", {"query": "x", "attitude": "x" * 100_000}, 400),
        ("/v1/route", {"query": "a" * 2_000_000}, 400),
        ("/v1/route", {"query": "x", "budget_usd_per_1k": 1e308, "dial": 3}, 400),
        ("/v1/route/batch", {"queries": ["x"] * 1000, "dial": [3] * 999}, 400),
        ("/v1/route/batch", {"queries": [], "budget_usd_per_1k": 1}, 200),
        ("/v1/feedback", {"decision_id": "\ud800", "score": 1}, 404),
        ("/v1/feedback", {"decision_id": "x" * 1_000_000, "score": 1}, 404),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_no_option_of_the_decision_service_makes_an_error_of_ours(
    served: Served, path: str, body: dict[str, Any], expected: int
) -> None:
    answer = served.client.post(path, content=json.dumps(body).encode(), headers={"content-type": "application/json"})
    assert answer.status_code == expected
    assert len(answer.content) < 200_000


@pytest.mark.parametrize("target", [b"/v1/audio/transcriptions", b"/v1/images/edits", b"/v1/files"])
@pytest.mark.parametrize("kind", [b"multipart/form-data; boundary=b0", b"Multipart/Mixed; boundary=b0"])
def test_a_form_runs_no_model(served: Served, target: bytes, kind: bytes) -> None:
    form = b'--b0\r\nContent-Disposition: form-data; name="model"\r\n\r\nb\r\n--b0--\r\n'
    for body in (form, b'{"model": "b"}'):
        assert (status(exchange(served.port, http(target, body, kind=kind))), asked(served)) == (415, [])


def unfinished(stack: contextlib.ExitStack, port: int, half: bytes) -> socket.socket:
    """A connection that has sent only these bytes."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
    connection.sendall(half)
    return connection


def test_connections_that_never_finish_their_request_keep_nobody_waiting(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_S", 3600.0)
    halves = [http()[:-5], http()[:40]] * 100  # of a body, of a header
    with serving(tiny_checkpoint, tmp_path, serve={"body_timeout_s": 3600}) as served, contextlib.ExitStack() as stack:
        waiting = [unfinished(stack, served.port, half) for half in halves]
        assert served.chat().status_code == 200
        for connection in waiting:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):  # neither answered nor closed: it waits still
                connection.recv(1)


def test_each_of_many_bodies_that_never_come_is_given_up(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        waiting = [unfinished(stack, served.port, http()[:-5]) for _ in range(100)]
        assert {status(connection.recv(1000)) for connection in waiting} == {408}


def test_a_body_that_comes_byte_by_byte_is_given_up_while_it_still_comes(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(http(body=CHAT | {"user": "x" * 10_000})[:-5000])
        for _ in range(1200):  # a minute: bytes that come every 0.05 s are never the last that were announced
            if select.select([connection], [], [], 0.05)[0]:
                break
            connection.sendall(b" ")
        else:
            pytest.fail("each byte had a time of its own")
        assert status(connection.recv(1000)) == 408


class LyingUpstream:
    """A server that answers every request with the same bytes and records the requests."""

    def __init__(self, answer: bytes) -> None:
        self.answer, self.heads = answer, list[bytes]()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += connection.recv(65536)
                    self.heads.append(head)
                    self.reply(connection)

    def reply(self, connection: socket.socket) -> None:
        connection.sendall(self.answer)

    def close(self) -> None:
        self._socket.close()


def lie(status_line: str, body: bytes, headers: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n"
    return head % (status_line.encode(), len(body), headers) + body


@contextlib.contextmanager
def lied_to(
    checkpoint: Checkpoint, folder: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Served, LyingUpstream]]:
    """A gateway with a key for a model whose upstream sends this response."""
    upstream = LyingUpstream(answer)
    monkeypatch.setenv("UP_KEY", "sk-operators-own")
    entry: dict[str, Any] = {"a": {"upstream": {"api_base": upstream.address, "key_env": "UP_KEY"}}}
    serve = {"decision_log": str(folder / "log.sqlite"), "attempts": 1}
    try:
        with serving(checkpoint, folder, ("a",), serve=serve, **entry) as served:
            yield served, upstream
    finally:
        upstream.close()


class EndlessUpstream(LyingUpstream):
    """A server that sends events until the connection ends, and then sets `ended`."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        super().__init__(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")

    def reply(self, connection: socket.socket) -> None:
        super().reply(connection)
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"data: {}\n\n" * 1000)
        self.ended.set()


def test_a_client_that_stops_reading_does_not_hold_the_upstream_for_ever(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "UNREAD_S", 0.3)
    upstream = EndlessUpstream()
    entry: dict[str, Any] = {"a": {"upstream": {"api_base": upstream.address}}}
    with serving(tiny_checkpoint, tmp_path, ("a",), **entry) as served, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", served.port))
        client.sendall(http(body=CHAT | {"stream": True}))
        assert upstream.ended.wait(60)
        assert served.client.get("/health").status_code == 200
    upstream.close()


ECHO = json.dumps({"error": {"message": "Incorrect API key: sk-operators-own", "code": "sk-operators-own"}}).encode()


@pytest.mark.parametrize("line", ["400 Bad", "401 No", "403 No", "404 No", "422 No", "429 No", "500 Bad", "302 Go"])
def test_an_upstream_that_repeats_our_key_gives_it_to_nobody(
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    line: str,
) -> None:
    caplog.set_level(logging.DEBUG, logger="router")
    answer = lie(line, ECHO, b"X-Your-Key: Bearer sk-operators-own\r\nLocation: http://192.0.2.1/sk-operators-own\r\n")
    with lied_to(tiny_checkpoint, tmp_path, answer, monkeypatch) as (served, upstream):
        told = ""
        for model in ("auto", "a"):
            got = served.chat(model=model)
            told += got.text + str(got.headers)
        passed = served.client.post("/v1/embeddings", json={"model": "a"})
        told += passed.text + str(passed.headers)
        assert len(upstream.heads) == 3
        assert all(b"bearer sk-operators-own" in head.lower() for head in upstream.heads)
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert "operators-own" not in told
    assert "operators-own" not in "".join(lines) + caplog.text
    assert b"operators-own" not in (tmp_path / "log.sqlite").read_bytes()


QUOTES = json.dumps({"error": {"message": "invalid content: 'my diagnosis'", "code": "bad", "type": "x"}}).encode()


@pytest.mark.parametrize("line", ["400 Bad", "422 No"])
def test_a_prompt_that_an_upstream_quotes_is_told_to_its_client_and_not_logged(
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    line: str,
) -> None:
    caplog.set_level(logging.DEBUG, logger="router")
    with lied_to(tiny_checkpoint, tmp_path, lie(line, QUOTES), monkeypatch) as (served, _):
        answers = [served.chat("my diagnosis", model=model) for model in ("auto", "a")]
        logged = served.client.get(f"/v1/decisions/{answers[0].headers['x-router-decision-id']}").json()
    assert ["my diagnosis" in each.text for each in answers] == [True, True]
    assert logged["outcomes"][0]["error"] == "refused bad"
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert "diagnosis" not in "".join(lines)
    assert b"diagnosis" not in (tmp_path / "log.sqlite").read_bytes()


def test_an_upstreams_headers_speak_neither_for_us_nor_to_its_next_client(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = (
        b"Set-Cookie: tracked=1; Path=/\r\nX-Router-Model: best\r\nAccess-Control-Allow-Origin: *\r\n"
        b"Strict-Transport-Security: max-age=9\r\nX-Fine: yes\r\n"
    )
    answer = lie("200 OK", b'{"choices": []}', headers)
    with lied_to(tiny_checkpoint, tmp_path, answer, monkeypatch) as (served, upstream):
        got = [served.chat(model=model).headers for model in ("auto", "a")]
        served.chat()
    assert [each["x-router-model"] for each in got] == ["a", "a"]
    for each in got:
        assert each["x-fine"] == "yes"
        assert not {"set-cookie", "access-control-allow-origin", "strict-transport-security"} & set(each)
    assert [head for head in upstream.heads if b"\r\ncookie:" in head.lower()] == []


def test_nothing_that_a_client_writes_makes_a_line_of_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="router")
    exchange(served.port, http(b"/v1/x%0a%7b%22level%22:%22error%22%7d", {"model": "b\n{}"}))
    exchange(served.port, http(b"/nothing%0d%0aevil", {"model": "b"}))
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert len(lines) >= 2
    assert [line for line in lines if "\n" in line or "\r" in line] == []
    assert "prove it" not in "".join(lines)


def test_a_wrong_secret_costs_the_same_work_whatever_is_wrong_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    secret = ring.create("one")
    revoked = ring.create("two")
    ring.revoke(revoked.split("-")[1])
    compared: list[tuple[int, int]] = []
    compare = client_keys.hmac.compare_digest

    def counted(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(client_keys.hmac, "compare_digest", counted)
    wrong = [secret[:-1] + "?", "rk-00000000-" + "a" * 43, revoked, "", "x" * 10_000, secret[:12]]
    assert [ring.check(each) for each in wrong] == [None] * len(wrong)
    assert compared == [(64, 64)] * len(wrong)  # always one comparison of two digests, each in constant time
