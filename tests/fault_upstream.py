"""An upstream on loopback that speaks the OpenAI protocol and fails on demand; also run by scripts/bench/gateway.py.

`fault` says how the next requests end, or is a function from their number (from 0) to that:

    ""               an answer         slow:0.5     one after so many seconds     hang            none ever
    429, 429:2       with Retry-After  500, 503, 401, 404                         reset           before any byte
    reset_in_body    in the answer     truncated    JSON cut short                html            a wrong content type
    reset_in_stream  after two events  context_length, content_filter             redirect        to elsewhere
    echo             a 400 with the request's authorization in body and header
    unknown_model    a 404 that says so

An answer repeats the last message's text, so that a test can tell whose answer it got.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

EVENTS = 4  # of a stream's text, besides its first and last
JSON, STREAM = "application/json", "text/event-stream"


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(eq=False)
class FaultUpstream:
    """Runs in a thread of its own between `start` and `stop`, or as a context manager."""

    name: str = "up"
    fault: str | Callable[[int], str] = ""
    keep: bool = True  # what was asked, in `requests`
    gap_s: float = 0.0  # between the events of a stream
    requests: list[Seen] = field(default_factory=list)
    count: int = 0
    answered: int = 0  # requests that got a whole answer of status 200
    port: int = 0
    connections: int = 0  # that were ever made
    streaming: int = 0  # streams that are open
    most_streaming: int = 0

    @property
    def api_base(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> FaultUpstream:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(started)), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def __enter__(self) -> FaultUpstream:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _main(self, started: threading.Event) -> None:
        self._loop, self._stop, self._tasks = asyncio.get_running_loop(), asyncio.Event(), set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ", 2)
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                seen = Seen(method, path, headers, body)
                if self.keep:
                    self.requests.append(seen)
                number, self.count = self.count, self.count + 1
                fault = self.fault(number) if callable(self.fault) else self.fault
                try:
                    goes_on = await self._answer(seen, fault, writer)
                except (ValueError, TypeError, AttributeError, KeyError, IndexError):  # no request of the protocol
                    _write(writer, 400, error("cannot be read", "odd"))
                    goes_on = True
                if not goes_on:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(Exception):
                writer.close()

    async def _answer(self, seen: Seen, fault: str, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        kind, _, detail = fault.partition(":")
        if kind == "hang":
            await asyncio.sleep(3600)
        if kind == "slow":
            await asyncio.sleep(float(detail))
        if kind == "reset":
            return _reset(writer)
        if kind in ("429", "500", "503", "401", "404"):
            extra = f"retry-after: {detail}\r\n" if detail else ""
            _write(writer, int(kind), error(f"told to answer {kind}", f"e{kind}"), extra=extra)
            return True
        if kind in ("context_length", "content_filter"):
            code = "context_length_exceeded" if kind == "context_length" else kind
            _write(writer, 400, error("told so", code))
            return True
        if kind == "unknown_model":
            _write(writer, 404, error(f"The model `{seen.json['model']}` does not exist", "model_not_found"))
            return True
        if kind == "echo":
            key = seen.headers.get("authorization", "")
            _write(writer, 400, error(f"not with {key}", "odd"), extra=f"x-echo: {key}\r\nset-cookie: a=b\r\n")
            return True
        if kind == "redirect":
            _write(writer, 307, b"", extra="location: http://192.0.2.1/\r\n")
            return True
        if kind == "html":
            _write(writer, 200, b"<html>at your service</html>", "text/html")
            return True
        if "multipart" in seen.headers.get("content-type", "") or not seen.path.endswith(
            ("/completions", "/responses")
        ):
            _write(writer, 200, json.dumps({"path": seen.path, "by": self.name}).encode())
            return True
        asked = seen.json
        if asked.get("stream"):
            self.streaming += 1
            self.most_streaming = max(self.most_streaming, self.streaming)
            try:
                return await self._stream(asked, seen.path, kind, writer)
            finally:
                self.streaming -= 1
        raw = json.dumps(self.answer(asked, seen.path)).encode()
        if kind == "reset_in_body":
            writer.write(_head(200, JSON, f"content-length: {len(raw)}\r\n") + raw[: len(raw) // 2])
            await writer.drain()
            return _reset(writer)
        self.answered += kind != "truncated"
        _write(writer, 200, raw[: len(raw) // 2] if kind == "truncated" else raw)
        return True

    def answer(self, asked: dict[str, Any], path: str) -> dict[str, Any]:
        text = f"{self.name}: {said(asked)}"
        tokens = len(text) // 4
        if path.endswith("/responses"):
            content = [{"type": "output_text", "text": text, "annotations": []}]
            message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content}
            usage = {"input_tokens": 7, "output_tokens": tokens, "total_tokens": 7 + tokens}
            return {"id": f"resp_{self.name}_{self.count}", "object": "response", "created_at": 1, "tools": [],
                    "model": asked["model"], "output": [message], "parallel_tool_calls": True, "tool_choice": "auto",
                    "status": "completed", "usage": usage}  # fmt: skip
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}
        return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"],
                "choices": [choice], "usage": usage}  # fmt: skip

    async def _stream(self, asked: dict[str, Any], path: str, kind: str, writer: asyncio.StreamWriter) -> bool:
        writer.write(_head(200, STREAM, "transfer-encoding: chunked\r\n"))
        for number, event in enumerate(self.events(asked, path)):
            if kind == "reset_in_stream" and number == 2:
                writer.write(_chunk(event[: len(event) // 2]))
                await writer.drain()
                await asyncio.sleep(0.02)
                return _reset(writer)
            writer.write(_chunk(event))
            await writer.drain()
            if self.gap_s:
                await asyncio.sleep(self.gap_s)
        self.answered += 1
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def events(self, asked: dict[str, Any], path: str) -> list[bytes]:
        text = f"{self.name}: {said(asked)}"
        step = max(len(text) // EVENTS, 1)
        parts = [text[at : at + step] for at in range(0, len(text), step)]
        if path.endswith("/responses"):
            whole = self.answer(asked, path)
            raw = [
                {"type": "response.created", "response": whole | {"status": "in_progress", "output": [], "usage": None}}
            ]
            raw += [{"type": "response.output_text.delta", "delta": part, "item_id": "m", "output_index": 0,
                     "content_index": 0, "logprobs": []} for part in parts]  # fmt: skip
            raw += [{"type": "response.completed", "response": whole}]
            return [
                f"event: {each['type']}\ndata: {json.dumps(each | {'sequence_number': n})}\n\n".encode()
                for n, each in enumerate(raw)
            ]
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": part} for part in parts)]
        raw = [chunk | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        raw += [chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
        if (asked.get("stream_options") or {}).get("include_usage"):
            raw += [chunk | {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}]
        return [*(b"data: " + json.dumps(each).encode() + b"\n\n" for each in raw), b"data: [DONE]\n\n"]


def said(asked: dict[str, Any]) -> str:
    """The text of the last message or input."""
    last = (
        (asked.get("messages") or asked.get("input") or [""])[-1]
        if not isinstance(asked.get("input"), str)
        else asked["input"]
    )
    content = last.get("content") if isinstance(last, dict) else last
    return content if isinstance(content, str) else json.dumps(content)


def error(message: str, code: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "x", "param": None, "code": code}}).encode()


def _head(status: int, kind: str, extra: str) -> bytes:
    return f"HTTP/1.1 {status} Told\r\ncontent-type: {kind}\r\nx-request-id: req-1\r\n{extra}\r\n".encode()


def _write(writer: asyncio.StreamWriter, status: int, body: bytes, kind: str = JSON, extra: str = "") -> None:
    writer.write(_head(status, kind, f"content-length: {len(body)}\r\n{extra}") + body)


def _chunk(part: bytes) -> bytes:
    return f"{len(part):x}\r\n".encode() + part + b"\r\n"


def _reset(writer: asyncio.StreamWriter) -> bool:
    """Drop the connection with a RST."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


if __name__ == "__main__":  # for a benchmark: prints the port, ends with its standard input
    import sys

    with FaultUpstream("up", keep=False, gap_s=float(sys.argv[1]) if len(sys.argv) > 1 else 0.0) as upstream:
        print(upstream.port, flush=True)
        sys.stdin.read()
