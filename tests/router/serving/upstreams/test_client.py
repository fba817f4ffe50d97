"""HTTP client of the upstreams: shared connections, breakers that survive a reload, keys that never come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fixtures.fault_upstream import FaultUpstream
from fixtures.served import serving

from router.checkpoint.checkpoint import Checkpoint
from router.pools.models import ModelFacts
from router.pools.pool import Candidate, Pool, Upstream
from router.serving.settings import ServeSettings
from router.serving.upstreams.client import LARGEST_ANSWER, LARGEST_ERROR, UpstreamRequest, UpstreamResponse, Upstreams
from router.serving.upstreams.connections import PooledTransport

BODY = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}


def test_each_request_under_way_has_its_connection_and_the_one_used_last_is_taken_first() -> None:
    async def ask(first: FaultUpstream, other: FaultUpstream) -> None:
        transport = PooledTransport()
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            url = f"{first.api_base}/chat/completions"
            requests = [client.build_request("POST", url, json=BODY) for _ in range(5)]
            answers = [await client.send(each, stream=True) for each in requests]
            assert (first.connections, idle(transport)) == (5, {})
            for each in answers:
                await each.aread()
                await each.aclose()
                await each.aclose()
            assert idle(transport) == {first.port: 5}
            last = transport._idle[next(iter(transport._idle))][-1]
            again = await client.send(client.build_request("POST", url, json=BODY), stream=True)
            assert last not in transport._idle[next(iter(transport._idle))]
            await again.aread()
            await client.post(f"{other.api_base}/chat/completions", json=BODY)
            assert (first.connections, other.connections) == (5, 1)
            assert idle(transport) == {first.port: 5, other.port: 1}
            with pytest.raises(httpx.ConnectError):
                await client.post("http://127.0.0.1:9/v1", json=BODY)

    with FaultUpstream("up") as first, FaultUpstream("other") as other:
        asyncio.run(ask(first, other))


def test_a_request_that_is_given_up_or_cut_off_leaves_no_connection_that_others_get() -> None:
    async def ask(upstream: FaultUpstream) -> None:
        transport = PooledTransport()
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            url = f"{upstream.api_base}/chat/completions"
            upstream.fault = "hang"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.post(url, json=BODY)
            upstream.fault = "reset_in_stream"
            with pytest.raises(httpx.ReadError):
                await client.post(url, json=BODY)
            upstream.fault = ""
            async with client.stream("POST", url, json=BODY):
                pass  # not read to its end
            answer = await client.post(url, json=BODY)
            assert answer.text.endswith("data: [DONE]\n\n")
            assert (upstream.connections, idle(transport)) == (4, {upstream.port: 1})

    with FaultUpstream("up") as upstream:
        asyncio.run(ask(upstream))


def test_connections_that_were_idle_for_too_long_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(first: FaultUpstream, other: FaultUpstream) -> None:
        transport = PooledTransport(keepalive_s=0.2)
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            url = f"{first.api_base}/chat/completions"
            await asyncio.gather(*(client.post(url, json=BODY) for _ in range(3)))
            await asyncio.sleep(0.3)
            await client.post(f"{other.api_base}/chat/completions", json=BODY)
            assert idle(transport) == {other.port: 1}
            assert len(transport._all) == 1

    monkeypatch.setattr("router.serving.upstreams.connections.SWEEP_S", 0.1)
    with FaultUpstream("up", gap_s=0.01) as first, FaultUpstream("other") as other:
        asyncio.run(ask(first, other))


def idle(transport: PooledTransport) -> dict[int | None, int]:
    """By port, how many connections wait for a request."""
    return {port: len(each) for (_, _, port), each in transport._idle.items() if each}


def pool(**bases: str) -> Pool:
    return Pool(
        "p", tuple(Candidate(ModelFacts(name, 1.0, 1.0), None, Upstream(base, name)) for name, base in bases.items())
    )


def test_a_reload_keeps_what_is_known_of_upstreams_that_stay() -> None:
    before = Upstreams(pool(a="http://h/1", b="http://h/2"), ServeSettings(breaker_failures=1), {})
    for target in before.targets.values():
        target.breaker.failed()
    after = Upstreams(
        pool(a="http://h/1", b="http://h/3", c="http://h/4"), ServeSettings(breaker_failures=7), {}, before
    )
    assert after.breaker_states() == {"a": "open", "b": "closed", "c": "closed"}
    assert after.targets["a"].load is before.targets["a"].load
    assert {each.breaker.failures for each in after.targets.values()} == {7}
    assert after.client is before.client
    assert after.available() == {"b", "c"}


@pytest.mark.parametrize(
    ("status", "size", "outcome"), [(200, 2000, "answered"), (200, 2001, "broken"), (400, 2001, "")]
)
def test_an_answer_is_read_to_the_size_allowed_and_no_further(
    monkeypatch: pytest.MonkeyPatch, status: int, size: int, outcome: str
) -> None:
    monkeypatch.setattr("router.serving.upstreams.client.LARGEST_ANSWER", 2000)
    monkeypatch.setattr("router.serving.upstreams.client.LARGEST_ERROR", 2000)
    body = json.dumps({"x": "x" * (size - 9)}).encode()
    sent = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal sent
        for start in range(0, len(body), 500):
            sent += 1
            yield body[start : start + 500]
        for _ in range(100 if size > 2000 else 0):
            sent += 1
            yield b" " * 500

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"content-type": "application/json"}, content=parts())

    async def ask() -> UpstreamResponse:
        upstreams = Upstreams(pool(a="http://h/1"), ServeSettings(), {})
        upstreams.client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        request = UpstreamRequest("POST", "/chat/completions", "", {}, checked=True, streams=False, passed_on=False)
        try:
            return await upstreams.send(upstreams.targets["a"], request, b"{}", 10.0)
        finally:
            await upstreams.close()

    found = asyncio.run(ask())
    if status == 200:
        assert found.outcome.kind == outcome
        assert found.outcome.detail == ("" if outcome == "answered" else "an answer above 2,000 bytes")
        assert found.body == (body if outcome == "answered" else b"")
    else:
        assert len(found.body) == 2000  # of an error what fits is passed on
    assert sent == (4 if size == 2000 else 5)


def test_the_sizes_allowed_are_64_mebibytes_and_of_an_error_one() -> None:
    assert (LARGEST_ANSWER, LARGEST_ERROR) == (67_108_864, 1_048_576)


def test_a_key_that_an_upstream_repeats_goes_no_further(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UP_KEY", "sk-hush")
    entry = {"a": {"upstream": {"key_env": "UP_KEY"}}}
    log = tmp_path / "log.sqlite"
    with serving(tiny_checkpoint, tmp_path, names=("a",), serve={"decision_log": str(log)}, **entry) as served:
        served.fail("echo")
        for model in ("a", "auto"):
            answer = served.chat(model=model)
            assert answer.status_code == 400
            assert "not with Bearer [key]" in answer.text
            assert "hush" not in answer.text + str(answer.headers)
            assert "set-cookie" not in answer.headers
        assert all("cookie" not in each.headers for each in served.upstreams["a"].requests)
    assert b"hush" not in log.read_bytes()
