"""What upstreams share and keep: connections in small pools, breakers over a reload, and no key that comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fault_upstream import FaultUpstream
from served import serving

from router.checkpoint import Checkpoint
from router.pools import Candidate, Pool, Upstream
from router.profiles import ModelFacts
from router.serving.connections import SHARD, ShardedTransport
from router.serving.settings import ServeSettings
from router.serving.upstreams import Upstreams


def test_requests_fill_one_small_pool_after_the_other_and_leave_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(upstream: FaultUpstream) -> tuple[list[int], list[int], int]:
        transport = ShardedTransport()
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            url = f"{upstream.api_base}/chat/completions"
            body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
            requests = [client.build_request("POST", url, json=body) for _ in range(2 * SHARD + 1)]
            answers = [await client.send(each, stream=True) for each in requests]
            busy = [shard.under_way for shard in transport._shards]
            for each in answers:
                await each.aread()
                await each.aclose()
            await client.post(url, json=body)
            with pytest.raises(httpx.ConnectError):
                await client.post("http://127.0.0.1:9/v1", json=body)
            return busy, [shard.under_way for shard in transport._shards], len(transport._shards)

    with FaultUpstream("up") as upstream:
        assert asyncio.run(ask(upstream)) == ([SHARD, SHARD, 1], [0, 0, 0], 3)


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
