"""Failing upstreams, in every way and under load: fallbacks, numbers of attempts, and what the client sees."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fixtures.served import Served, serving

from router.checkpoint.checkpoint import Checkpoint
from router.routing.router import Router
from router.serving.http import gateway
from router.serving.upstreams.client import UpstreamResponse, Upstreams
from router.serving.upstreams.connections import PooledTransport
from router.serving.upstreams.failover import LEAST_ATTEMPT_S, forward

pytestmark = pytest.mark.end_to_end

BEFORE = ("429:1", "500", "503", "401", "reset", "reset_in_body", "truncated", "html", "redirect", "hang",
          "context_length", "content_filter")  # fmt: skip  # faults that a fallback hides from the client


def favourite(served: Served) -> str:
    """The model that gets most requests of these tests."""
    return served.chat("0 prove").headers["x-router-model"]


async def ask_all(served: Served, count: int, *, stream: bool, at_once: int = 16) -> list[tuple[int, str, str]]:
    """Status, text and end of each of `count` responses, with a bounded number of concurrent requests."""
    gate = asyncio.Semaphore(at_once)

    async def one(client: httpx.AsyncClient, number: int) -> tuple[int, str, str]:
        body = {"model": "auto", "messages": [{"role": "user", "content": f"{number} prove"}], "stream": stream}
        async with gate:
            answer = await client.post("/v1/chat/completions", json=body)
        if answer.status_code != 200:
            return answer.status_code, answer.text, ""
        if not stream:
            return 200, answer.json()["choices"][0]["message"]["content"], "[DONE]"
        events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        parsed = [json.loads(each) for each in events if each != "[DONE]"]
        text = "".join(c["delta"].get("content", "") for each in parsed for c in each.get("choices", ()))
        return 200, text, events[-1]

    async with httpx.AsyncClient(base_url=served.url, timeout=30, transport=PooledTransport()) as client:
        return await asyncio.gather(*(one(client, number) for number in range(count)))


def right(answers: list[tuple[int, str, str]]) -> int:
    """The number of complete responses to their own question."""
    return sum(
        status == 200 and text[1:] == f": {number} prove" and end == "[DONE]"
        for number, (status, text, end) in enumerate(answers)
    )


def check_under_load(checkpoint: Checkpoint, folder: Path, fault: str, stream: bool, count: int) -> float:
    """The share of right responses while the favourite fails; no request gets two."""
    entry = {name: {"upstream": {"timeout_s": 1 if fault == "hang" else 10}} for name in "abc"}
    with serving(checkpoint, folder, serve={"breaker_open_s": 0.5}, **entry) as served:
        failing = favourite(served)
        before = sum(each.answered for each in served.upstreams.values())
        served.fail(fault, failing)
        answers = asyncio.run(ask_all(served, count, stream=stream))
        found = right(answers)
        answered = sum(each.answered for each in served.upstreams.values()) - before
        assert answered == found, "each right answer is one that an upstream gave, and none was given in vain"
        assert served.upstreams[failing].count > 1
        if fault not in ("context_length", "content_filter"):
            assert served.upstreams[failing].count < count, "the breaker keeps requests away"
            assert served.state.snapshot.upstreams.breaker_states()[failing] != "closed"
        return found / count


@pytest.mark.parametrize("fault", BEFORE)
def test_a_failing_upstream_is_not_noticed(tiny_checkpoint: Checkpoint, tmp_path: Path, fault: str) -> None:
    stream = fault not in ("reset_in_body", "truncated")  # which only whole answers can have
    assert check_under_load(tiny_checkpoint, tmp_path, fault, stream, 60) == 1.0


@pytest.mark.full
@pytest.mark.parametrize("fault", [*BEFORE, "reset_in_stream"])
def test_under_load_999_of_1000_are_answered_right(tiny_checkpoint: Checkpoint, tmp_path: Path, fault: str) -> None:
    stream = fault not in ("reset_in_body", "truncated")
    count = 30_000 if fault == "reset_in_stream" else 3000  # a break in a stream is seen, until the breaker opens
    assert check_under_load(tiny_checkpoint, tmp_path, fault, stream, count) >= 0.999


def test_a_stream_that_breaks_ends_with_an_error_and_is_not_sent_again(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with serving(tiny_checkpoint, tmp_path, serve={"decision_log": str(tmp_path / "log.sqlite")}) as served:
        served.fail("reset_in_stream")
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
        got = []
        with pytest.raises(openai.APIError, match="broke off; what came until here is incomplete"):
            for chunk in client.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": "prove it"}], stream=True
            ):
                got.append(chunk)
        assert len(got) == 2  # the whole events, not the half one
        with pytest.raises(openai.APIError, match="broke off"):
            list(client.responses.create(model="auto", input="prove it", stream=True))
        assert sum(each.count for each in served.upstreams.values()) == 2
        raw = served.chat("prove it", stream=True)
        [outcome] = served.client.get(f"/v1/decisions/{raw.headers['x-router-decision-id']}").json()["outcomes"]
        assert outcome["possibly_billed"]
        assert outcome["error"].startswith("broken in the stream")


def test_streams_that_break_open_the_breaker_though_each_begins_well(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with serving(tiny_checkpoint, tmp_path, serve={"breaker_failures": 3, "breaker_open_s": 0.3}) as served:
        first = favourite(served)
        served.fail("reset_in_stream", first)
        for _ in range(3):
            assert served.chat("0 prove", stream=True).text.count("broke off") == 1
        states = served.state.snapshot.upstreams.breaker_states
        assert states()[first] == "open"
        assert "[DONE]" in served.chat("0 prove", stream=True).text
        time.sleep(0.35)
        assert "broke off" in served.chat("0 prove", stream=True).text  # the probe
        assert states()[first] == "open"
        served.fail("", first)
        time.sleep(0.65)
        assert "[DONE]" in served.chat("0 prove", stream=True).text
        assert states()[first] == "closed"


def test_attempts_are_logged_and_those_that_may_have_run_are_marked(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with serving(tiny_checkpoint, tmp_path, serve={"decision_log": str(tmp_path / "log.sqlite")}) as served:
        order = served.client.post("/v1/route", json={"query": "prove it"}).json()["order"]
        served.fail("500", order[0])
        served.fail("429", order[1])
        answer = served.chat("prove it")
        assert answer.headers["x-router-model"] == order[2]
        assert answer.headers["x-router-attempts"] == "3"
        found = served.client.get(f"/v1/decisions/{answer.headers['x-router-decision-id']}").json()["outcomes"]
        assert [(o["attempt"], o["upstream"], o["status"], bool(o["possibly_billed"])) for o in found] == [
            (1, order[0], 500, True),
            (2, order[1], 429, False),
            (3, order[2], 200, False),
        ]


def test_without_retry_after_send_only_what_cannot_have_run_goes_elsewhere(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    entry = {name: {"upstream": {"retry_after_send": False}} for name in "abc"}
    with serving(tiny_checkpoint, tmp_path, **entry) as served:
        first = favourite(served)
        served.fail("500", first)
        refused = served.chat("0 prove")
        assert refused.status_code == 502
        assert refused.json()["error"]["message"] == f"no model answered: {first} server error"
        served.fail("503", first)
        assert served.chat("0 prove").headers["x-router-model"] != first


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("429:7", 429, "upstream_rate_limited"),
        ("500", 502, "upstream_failed"),
        ("hang", 504, "upstream_timeout"),
        ("context_length", 400, "context_length_exceeded"),
        ("content_filter", 400, "content_filter"),
    ],
)
def test_where_all_fail_the_client_gets_one_clear_error(
    tiny_checkpoint: Checkpoint, tmp_path: Path, fault: str, status: int, code: str
) -> None:
    entry = {name: {"upstream": {"timeout_s": 0.2}} for name in "abc"}
    with serving(tiny_checkpoint, tmp_path, serve={"deadline_s": 2}, **entry) as served:
        served.fail(fault)
        answer = served.chat()
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert [each.count for each in served.upstreams.values()] == [1, 1, 1]
        assert answer.headers["x-router-decision-id"].startswith("dec_")
        if fault == "429:7":
            assert answer.headers["retry-after"] == "7"
            assert "127.0.0.1" not in answer.text


def test_retry_after_is_waited_for_within_the_deadline_where_nobody_else_can_answer(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    settings = {"deadline_s": 3000, "breaker_open_s": 1000}  # any wait for these outlasts the client's 60 s
    with serving(tiny_checkpoint, tmp_path, ("a",), serve=settings, a={"upstream": {"timeout_s": 60}}) as served:
        served.upstreams["a"].fault = lambda number: "429:1" if number == 0 else ""
        started = time.monotonic()
        assert served.chat().status_code == 200
        assert time.monotonic() - started >= 1.0
        assert served.upstreams["a"].count == 2
        served.upstreams["a"].fault = "429:3600"  # beyond the deadline: not waited for
        assert served.chat().status_code == 429
        assert served.chat().status_code == 502  # nobody is asked any more
        assert served.upstreams["a"].count == 3


def test_the_deadline_ends_all_attempts_together(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    within: list[float] = []  # that each attempt was given
    send = Upstreams.send

    async def noted(upstreams: Upstreams, *given: Any) -> UpstreamResponse:
        within.append(given[-1])
        return await send(upstreams, *given)

    def soon(*given: Any) -> Any:
        return forward(*given[:-1], time.monotonic() + 0.3)  # however long the decision took

    monkeypatch.setattr(Upstreams, "send", noted)
    monkeypatch.setattr(gateway, "forward", soon)
    entry = {name: {"upstream": {"timeout_s": 3600}} for name in "abc"}  # the client waits for 60 s
    with serving(tiny_checkpoint, tmp_path, serve={"attempts": 10}, **entry) as served:
        served.fail("hang")
        answer = served.chat()
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
    assert within[0] <= 0.3
    assert within[1:] == [LEAST_ATTEMPT_S] * 2  # the first took all there was


def test_the_retry_budget_is_shared_by_all_requests(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    settings = {"retry_share": 0.0, "retry_burst": 3, "breaker_failures": 1000}
    with serving(tiny_checkpoint, tmp_path, serve=settings) as served:
        served.fail("503")
        for _ in range(5):
            assert served.chat().status_code == 502
        assert sum(each.count for each in served.upstreams.values()) == 5 + 3


def test_what_is_too_long_for_a_model_costs_no_retry(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with serving(tiny_checkpoint, tmp_path, serve={"retry_share": 0.0, "retry_burst": 0}) as served:
        served.fail("content_filter", favourite(served))
        assert [served.chat("0 prove").status_code for _ in range(5)] == [200] * 5


def test_a_breaker_opens_after_failures_and_closes_with_a_probe(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    settings = {"breaker_failures": 3, "breaker_open_s": 0.4}
    with serving(tiny_checkpoint, tmp_path, serve=settings) as served:
        first = favourite(served)
        states = served.state.snapshot.upstreams.breaker_states
        served.fail("500", first)
        for _ in range(10):
            assert served.chat("0 prove").status_code == 200
        assert served.upstreams[first].count == 1 + 3
        assert states()[first] == "open"
        time.sleep(0.45)
        assert states()[first] == "half_open"
        assert served.chat("0 prove").headers["x-router-model"] != first  # the probe fails, another answers
        assert served.upstreams[first].count == 1 + 4
        assert states()[first] == "open"
        served.fail("", first)
        time.sleep(0.85)  # doubled
        assert served.chat("0 prove").headers["x-router-model"] == first
        assert states()[first] == "closed"


def test_a_concrete_model_is_asked_once_and_its_words_come_back(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with serving(tiny_checkpoint, tmp_path) as served:
        served.fail("429:3", "a")
        answer = served.chat(model="a")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
        assert answer.json()["error"]["code"] == "e429"
        served.fail("401", "b")
        told = served.chat(model="b")
        assert (told.status_code, told.json()["error"]["code"]) == (502, "upstream_failed")
        served.fail("reset", "c")
        assert served.chat(model="c").status_code == 502
        assert Counter({each.name: each.count for each in served.upstreams.values()}) == {"a": 1, "b": 1, "c": 1}


def test_a_context_that_was_too_narrow_is_not_tried_where_it_is_no_wider(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    entry: dict[str, Any] = {name: {"context_window": 10_000} for name in "ab"} | {"c": {"context_window": 20_000}}
    with serving(tiny_checkpoint, tmp_path, **entry) as served:
        served.fail("context_length", "a", "b")
        for dial in (0, 5, 10):
            answer = served.chat(model=f"auto:{dial}")
            assert answer.headers["x-router-model"] == "c"
            assert answer.headers["x-router-attempts"] in ("1", "2")


@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.full)])
def test_hundreds_of_streams_are_open_at_once(tiny_checkpoint: Checkpoint, tmp_path: Path, count: int) -> None:
    with serving(tiny_checkpoint, tmp_path) as served:
        for each in served.upstreams.values():
            each.gap_s, each.keep = count / 800, False
        answers = asyncio.run(ask_all(served, count, stream=True, at_once=count))
        assert right(answers) == count
        assert sum(each.most_streaming for each in served.upstreams.values()) == count


def test_a_slow_upstream_loses_requests_to_its_next(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    entry = {name: {"upstream": {"limits": {"latency_s": 0.5}}} for name in "abc"}
    with serving(tiny_checkpoint, tmp_path, serve={"load_weight": 1.0}, **entry) as served:
        first = served.client.post("/v1/route", json={"query": "0 prove"}).json()["model"]
        served.fail("slow:1", first)
        models = [served.chat("0 prove").headers["x-router-model"] for _ in range(6)]
        assert models[-1] != first
        assert models.count(first) <= 2
        body = {"query": "0 prove"}
        assert served.client.post("/v1/route", json=body).json()["model"] == first  # the router itself still prefers it


def test_an_upstream_near_its_tokens_per_minute_loses_requests_to_its_next(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    entry = {name: {"upstream": {"limits": {"tokens_per_minute": 1}}} for name in "abc"}
    with serving(tiny_checkpoint, tmp_path, serve={"load_weight": 1.0}, **entry) as served:
        models = [served.chat("0 prove").headers["x-router-model"] for _ in range(2)]
        assert len(set(models)) == 2


def test_many_that_wait_for_one_breaker_are_answered_once_its_probe_is(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    settings = {"breaker_failures": 1, "breaker_open_s": 0.5, "deadline_s": 10}
    with serving(tiny_checkpoint, tmp_path, names=("a",), serve=settings) as served:
        served.fail("503")
        assert served.chat().status_code == 502
        served.fail("slow:0.3")
        answers = asyncio.run(ask_all(served, 8, stream=False, at_once=8))
        assert right(answers) == 8


class Stuck:
    """A router that decides nothing until `gate` is set."""

    def __init__(self, router: Router) -> None:
        self.router, self.gate = router, threading.Event()

    def route(self, query: Any, **options: Any) -> Any:
        self.gate.wait(30)
        return self.router.route(query, **options)

    def route_in_pieces(self, queries: Any, **options: Any) -> Any:
        self.gate.wait(30)
        return self.router.route_in_pieces(queries, **options)


def test_the_deadline_counts_the_wait_for_a_decision(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with serving(tiny_checkpoint, tmp_path, serve={"deadline_s": 0.2}) as served:
        engine = served.state.engine
        stuck = Stuck(engine.router)
        engine.swap(stuck)  # type: ignore[arg-type]
        for path, body in (
            ("/v1/route", {"query": "prove it"}),
            ("/v1/route/batch", {"queries": ["prove it", "write it"]}),
            ("/v1/chat/completions", {"model": "auto", "messages": [{"role": "user", "content": "prove it"}]}),
        ):
            answer = served.client.post(path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (504, "decision_timeout"), path
            assert answer.headers["retry-after"] == "1"
        stuck.gate.set()
        assert not any(each.requests for each in served.upstreams.values())


def test_the_decision_and_the_attempts_share_one_deadline(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def noted(made: Any) -> Any:
        def call(*given: Any) -> Any:
            seen.append(given[-1])
            return made(*given)

        return call

    for name in ("decide", "forward"):
        monkeypatch.setattr(gateway, name, noted(getattr(gateway, name)))
    with serving(tiny_checkpoint, tmp_path) as served:
        assert served.chat().status_code == 200
    assert len(seen) == 2 and seen[0] == seen[1]
