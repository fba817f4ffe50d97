"""An endpoint on this machine that speaks chat completions in an LLM's place, with faults on demand.

What it says is a function of the request's body that the test gives. It keeps a bill: an answer is billed when it has
been written to a client that was still there. With `idempotent`, an answer sent again under the same Idempotency-Key
comes from memory and is not billed again, as payment APIs do; without, it is.
"""

from __future__ import annotations

import json
import random
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
MALFORMED = ("As an AI, I would say it needs some thought.", '{"ticket": "0", "capabilities": ["reaso', "", "[1, 2]")


@dataclass
class Said:
    """One answer: its text, and the tokens it is billed for (characters / 4 where not told)."""

    text: str
    output_tokens: int | None = None
    finish: str = "stop"


@dataclass
class Faults:
    """Shares of the requests that go wrong, and how long each takes."""

    malformed: float = 0.0
    overloaded: float = 0.0  # 429
    broken: float = 0.0  # 500
    unreadable: float = 0.0  # 200 with half a body
    latency_s: float = 0.0
    retry_after: str | None = "0.05"
    unsupported: tuple[str, ...] = ()  # parameters that are answered with 400
    status: int | None = None  # of every request
    usage: bool = True  # whether answers say how many tokens they are


@dataclass
class LoopbackLLM:
    """What the endpoint does and did. `url` is its base URL."""

    say: Callable[[Body], str | Said]
    faults: Faults = field(default_factory=Faults)
    key: str | None = None  # refused with 401 without it
    idempotent: bool = False
    url: str = ""
    requests: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    billed: Counter[str] = field(default_factory=Counter)  # idempotency key -> times
    malformed: set[str] = field(default_factory=set)  # keys of the questions that got nonsense
    bodies: list[Body] = field(default_factory=list)  # the last KEPT
    keep: int = 50
    most_at_once: int = 0
    error: Exception | None = None  # of `say`; the test that serves fails with it

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.random = random.Random(0)
        self.memory: dict[str, bytes] = {}
        self.at_once = 0

    def fault(self) -> str | None:
        """Which fault this request has, drawn."""
        draw, total = self.random.random(), 0.0
        for name in ("malformed", "overloaded", "broken", "unreadable"):
            total += getattr(self.faults, name)
            if draw < total:
                return name
        return None


def completion(body: Body, said: Said, usage: bool = True) -> bytes:
    """The JSON of a chat completion; tokens are characters / 4, rounded up."""
    tokens_in = sum(-(-len(each["content"]) // 4) for each in body["messages"])
    tokens_out = -(-len(said.text) // 4) if said.output_tokens is None else said.output_tokens
    counts = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    message = {"role": "assistant", "content": said.text}
    choice = {"index": 0, "message": message, "finish_reason": said.finish}
    made = {"object": "chat.completion", "model": body["model"], "choices": [choice]}
    return json.dumps(made | ({"usage": counts} if usage else {})).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    llm: LoopbackLLM

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        llm = self.llm
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.headers.get("Idempotency-Key", "")
        with llm.lock:
            llm.requests += 1
            llm.at_once += 1
            llm.most_at_once = max(llm.most_at_once, llm.at_once)
            llm.bodies = [*llm.bodies, body][-llm.keep :]
            fault = llm.fault()
        try:
            if llm.faults.latency_s:
                time.sleep(llm.faults.latency_s)
            self._answer(body, name, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as error:  # whatever `say` raises
            llm.error = error
            self._refuse(404, "the test's endpoint is broken")  # ends the run
        finally:
            with llm.lock:
                llm.at_once -= 1

    def _answer(self, body: Body, name: str, fault: str | None) -> None:
        llm = self.llm
        if llm.key is not None and self.headers.get("Authorization") != f"Bearer {llm.key}":
            got = self.headers.get("Authorization", "").removeprefix("Bearer ")
            return self._refuse(401, f"Incorrect API key provided: {got}")
        if llm.faults.status:
            return self._refuse(llm.faults.status, "refused on demand")
        for parameter in llm.faults.unsupported:
            if parameter in body:
                return self._refuse(400, f"Unsupported parameter: '{parameter}' is not supported with this model.")
        if fault == "overloaded":
            return self._refuse(429, "Rate limit reached", llm.faults.retry_after)
        if fault == "broken":
            return self._refuse(500, "The server had an error")
        if self._client_has_gone():  # a server that is told so stops generating
            raise BrokenPipeError
        kept = llm.memory.get(name) if llm.idempotent else None
        content = kept or self._content(body, name, fault)
        if kept is None:
            with llm.lock:
                llm.billed[name] += 1
                if llm.idempotent:
                    llm.memory[name] = content
        self._write(200, content)

    def _content(self, body: Body, name: str, fault: str | None) -> bytes:
        said = self.llm.say(body)
        said = said if isinstance(said, Said) else Said(said)
        if fault == "malformed":
            with self.llm.lock:
                self.llm.malformed.add(name)
                said = Said(self.llm.random.choice(MALFORMED))
        content = completion(body, said, self.llm.faults.usage)
        return content[: len(content) // 2] if fault == "unreadable" else content

    def _client_has_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def _refuse(self, status: int, message: str, retry_after: str | None = None) -> None:
        with self.llm.lock:
            self.llm.refused[str(status)] += 1
        self._write(status, json.dumps({"error": {"message": message}}).encode(), retry_after)

    def _write(self, status: int, content: bytes, retry_after: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of tests are killed on purpose."""


@contextmanager
def serving(llm: LoopbackLLM) -> Iterator[LoopbackLLM]:
    """Serve `llm` at its `url` while the context is open."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"llm": llm}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    llm.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield llm
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    if llm.error is not None:
        raise llm.error
