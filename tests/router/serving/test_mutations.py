"""Fuzzing: requests drawn from the OpenAPI document, and thousands of mutated valid requests.

None may end in a 5xx of ours, hang, be answered in another shape than documented, or leave something behind.
"""

from __future__ import annotations

import gc
import json
import random
import resource
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures.served import Served, serving

from router.checkpoint.checkpoint import Checkpoint
from router.serving.http.openapi import document

pytestmark = pytest.mark.end_to_end

PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
MESSAGES = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "prove it"}, PICTURE]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}]},
    {"role": "tool", "tool_call_id": "c", "content": "7"},
    {"role": "user", "content": "and now"},
]
ITEMS = [
    {"role": "user", "content": [{"type": "input_text", "text": "prove it"}]},
    {"type": "reasoning", "summary": []},
]
SEEDS: list[tuple[str, dict[str, Any]]] = [
    (
        "/v1/chat/completions",
        {"model": "auto", "messages": MESSAGES, "tools": [TOOL], "max_tokens": 50, "stream": False},
    ),
    ("/v1/chat/completions", {"model": "auto:3", "messages": MESSAGES[-1:], "stream": True, "temperature": 0.5}),
    ("/v1/chat/completions", {"model": "b", "messages": MESSAGES[:1], "response_format": {"type": "json_object"}}),
    ("/v1/responses", {"model": "auto", "input": ITEMS, "instructions": "x", "text": {"format": {"type": "text"}}}),
    ("/v1/responses", {"model": "auto:10", "input": "prove it", "previous_response_id": "resp_1", "stream": True}),
    ("/v1/embeddings", {"model": "c", "input": ["a", "b"]}),
    ("/v1/route", {"query": "prove it", "dial": 3, "allow": ["a", "b*"], "top": 2}),
    ("/v1/route", {"messages": MESSAGES, "user": "u", "tools": [TOOL]}),
    ("/v1/route/batch", {"queries": ["a", "b", "c"], "dial": [1, 2, 3.5], "context_tokens": 50}),
    ("/v1/feedback", {"decision_id": "dec_x", "score": 0.5, "comment": "c"}),
]
ODD: list[Any] = [
    None, True, 0, -1, 1e308, 2**70, 0.1, "", " ", "auto", "a" * 5000, "\x00", "\ud800", "\u202e", "é" * 50, [], {},
    [[]], [None], {"": ""}, {"role": "user"}, "http://192.0.2.1", "../..", "' OR 1=1", float("nan"), float("inf"),
]  # fmt: skip
HEADERS: list[dict[str, str]] = [
    {}, {}, {}, {}, {"x-session-id": "s"}, {"x-session-id": "x" * 5000}, {"authorization": "Bearer x"},
    {"content-type": "text/plain"}, {"content-type": "multipart/form-data; boundary=x"}, {"content-encoding": "gzip"},
    {"origin": "https://evil.example.com"}, {"host": "evil.example.com"}, {"accept": "x/y"}, {"content-type": "; ;"},
    {"transfer-encoding": "chunked"}, {"idempotency-key": "k"}, {"expect": "100-continue"},
]  # fmt: skip
LARGEST = 150_000  # bytes of a body; the server takes 100,000
NO_HTTP = "Invalid HTTP request received."  # uvicorn's word, before the application sees anything


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with a key into it."""
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from places(inner)


def replace(body: Any, draw: random.Random) -> None:
    container, key = draw.choice([*places(body)])
    container[key] = deepcopy(draw.choice(ODD))


def remove(body: Any, draw: random.Random) -> None:
    container, key = draw.choice([*places(body)])
    del container[key]


def nest(body: Any, draw: random.Random) -> None:
    container, key = draw.choice([*places(body)])
    for _ in range(draw.choice([1, 3, 70, 200])):
        container[key] = [container[key]]


def add(body: Any, draw: random.Random) -> None:
    containers = [body, *(each for each, _ in places(body) if isinstance(each, dict))]
    draw.choice(containers)[draw.choice(["model", "stream", "content", "role", "type", "x", "", "api_base"])] = (
        deepcopy(draw.choice(ODD))
    )


def swap_types(body: Any, draw: random.Random) -> None:
    container, key = draw.choice([*places(body)])
    container[key] = json.dumps(container[key]) if draw.random() < 0.5 else [container[key]] * draw.choice([0, 2, 300])


def cut(raw: bytes, draw: random.Random) -> bytes:
    return raw[: draw.randrange(len(raw) + 1)]


def flip(raw: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(raw) or 1)
    return raw[:at] + bytes([draw.randrange(256)]) + raw[at + 1 :]


def double(raw: bytes, draw: random.Random) -> bytes:
    at, end = sorted(draw.randrange(len(raw) + 1) for _ in range(2))
    times = min(draw.choice([1, 2, 500]), LARGEST // max(end - at, 1))
    return (raw[:end] + raw[at:end] * times + raw[end:])[:LARGEST]


SHAPES: list[Callable[[Any, random.Random], None]] = [replace, replace, remove, nest, add, swap_types]
BYTES: list[Callable[[bytes, random.Random], bytes]] = [cut, flip, flip, double]


def mutated(draw: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """Method, path, body and headers of a mutated request."""
    path, seed = draw.choice(SEEDS)
    body = json.loads(json.dumps(seed))
    for _ in range(draw.choice([0, 1, 1, 2, 5])):
        if body:
            draw.choice(SHAPES)(body, draw)
    raw = json.dumps(body).encode()
    for _ in range(draw.choice([0, 0, 0, 1, 3])):
        raw = draw.choice(BYTES)(raw, draw)
    if draw.random() < 0.1:
        path = draw.choice(
            [path + "/", path + "/../x", path.upper(), "/v1/" + "x" * 3000, path + "?a=%00", "/v1/files/%2e%2e"]
        )
    method = draw.choice(["POST"] * 20 + ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
    return method, path, raw, {"content-type": "application/json"} | draw.choice(HEADERS)


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("mutations")
    settings = {
        "decision_log": str(folder / "log.sqlite"),
        "max_body_bytes": 100_000,
        "body_timeout_s": 2,
        "max_sessions": 500,
    }
    with serving(tiny_checkpoint, folder, serve=settings) as found:
        for each in found.upstreams.values():
            each.keep = False
        yield found


def check(served: Served, count: int, seed: int) -> Counter[int]:
    """Send `count` mutated requests; the statuses they got."""
    draw, seen = random.Random(seed), Counter[int]()
    for number in range(count):
        method, path, raw, headers = mutated(draw)
        told = f"number {number} of seed {seed}: {method} {path} {headers} {raw[:500]!r}"
        try:
            answer = served.client.request(method, path, content=raw, headers=headers, timeout=10)
        except httpx.RemoteProtocolError as error:  # the server read it as no HTTP and hung up
            pytest.fail(f"{told}: {error}")
        seen[answer.status_code] += 1
        assert answer.status_code < 500, f"{told}: {answer.text[:300]}"
        if answer.status_code >= 400 and method != "HEAD" and answer.text != NO_HTTP:
            assert isinstance(answer.json()["error"]["message"], str), told
    return seen


def resident_mib() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def left_behind(served: Served) -> tuple[int, int, int]:
    """Queries that wait, requests under way, sessions above their limit."""
    upstreams = served.state.snapshot.upstreams.targets.values()
    return (
        served.state.engine.waiting,
        sum(each.load.in_flight for each in upstreams),
        max(len(served.state.sessions) - 500, 0),
    )


def test_mutated_requests_are_answered_or_refused(served: Served) -> None:
    seen = check(served, 500, seed=0)
    assert seen[200] > 50 and seen[400] > 100  # both happen
    assert left_behind(served) == (0, 0, 0)
    check(served, 100, seed=3)  # by now the server's threads are all there
    threads = threading.active_count()
    check(served, 100, seed=4)
    assert threading.active_count() <= threads + 1


@pytest.mark.full
def test_ten_thousand_mutated_requests_leave_nothing_behind(served: Served) -> None:
    check(served, 2000, seed=1)
    before = resident_mib()
    check(served, 10_000, seed=2)
    grown_mib = resident_mib() - before
    assert left_behind(served) == (0, 0, 0)
    assert grown_mib < 30  # the engine's remembered decisions and the log's file cache


def drawn(served: Served, examples: int) -> Counter[tuple[str, int]]:
    """Requests drawn from the document, their answers checked against it."""
    import schemathesis
    from hypothesis import HealthCheck, given, settings

    schema = schemathesis.openapi.from_dict(document())
    seen: Counter[tuple[str, int]] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=examples, deadline=None, database=None, derandomize=True,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        def ask(case: Any) -> None:
            if isinstance(case.body, dict) and "model" in case.body and seen.total() % 4:
                case.body["model"] = "auto"
            answer = case.call(base_url=served.url)
            seen[case.path, answer.status_code] += 1
            assert answer.status_code < 500, answer.text
            case.operation.validate_response(answer)

        ask()
    return seen


def test_requests_drawn_from_the_document_get_documented_answers(served: Served) -> None:
    seen = drawn(served, 15)
    assert {path for path, _ in seen} == set(document()["paths"])
    assert seen["/v1/chat/completions", 200] and seen["/v1/route", 200]


@pytest.mark.full
def test_many_requests_drawn_from_the_document_get_documented_answers(served: Served) -> None:
    seen = drawn(served, 200)
    assert {path for path, _ in seen} == set(document()["paths"])
    assert sum(seen.values()) > 200
