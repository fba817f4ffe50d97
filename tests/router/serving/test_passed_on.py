"""Requests passed on to the model that the client names: their effect on other requests, and their paths."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures.served import Served, serving

from router.checkpoint.checkpoint import Checkpoint

BREAKER = {"breaker_failures": 3, "breaker_open_s": 0.2}


@pytest.fixture
def served(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Iterator[Served]:
    with serving(tiny_checkpoint, tmp_path, serve=BREAKER) as found:
        yield found


def embed(served: Served, model: str = "a") -> httpx.Response:
    return served.client.post("/v1/embeddings", json={"model": model, "input": "x"})


def states(served: Served) -> set[str]:
    return set(served.state.snapshot.upstreams.breaker_states().values())


@pytest.mark.parametrize("fault", ["404", "401", "429:60", "redirect", "reset", "context_length"])
def test_a_client_cannot_switch_an_upstream_off_for_everybody(served: Served, fault: str) -> None:
    served.fail(fault)
    for model in "abc":
        for _ in range(5):
            assert embed(served, model).status_code >= 300
            assert served.chat(model=model).status_code >= 300
    assert states(served) == {"closed"}
    served.fail("")
    assert served.chat().headers["x-router-attempts"] == "1"


@pytest.mark.parametrize("fault", ["500", "503", "slow:3"])
def test_an_upstream_that_fails_at_requests_passed_on_is_not_asked_for_others(
    tiny_checkpoint: Checkpoint, tmp_path: Path, fault: str
) -> None:
    entry = {name: {"upstream": {"timeout_s": 0.1}} for name in "abc"}
    with serving(tiny_checkpoint, tmp_path, serve=BREAKER | {"breaker_open_s": 60}, **entry) as served:
        served.fail(fault, "a")
        for _ in range(3):
            assert served.chat(model="a").status_code >= 500
        assert served.state.snapshot.upstreams.breaker_states() == {"a": "open", "b": "closed", "c": "closed"}


def test_an_upstream_that_is_gone_is_not_asked_for_others(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    nobody = {"a": {"upstream": {"api_base": "http://127.0.0.1:9/v1"}}}
    with serving(tiny_checkpoint, tmp_path, serve=BREAKER | {"breaker_open_s": 60}, **nobody) as served:
        assert [embed(served).status_code for _ in range(3)] == [502] * 3
        assert served.state.snapshot.upstreams.breaker_states()["a"] == "open"


def test_a_request_passed_on_is_no_probe(served: Served) -> None:
    served.fail("503")
    for _ in range(3):
        served.chat()
    for target in served.state.snapshot.upstreams.targets.values():
        target.breaker.clock = lambda: float("inf")  # whatever was open is half open
    assert states(served) == {"half_open"}
    for fault in ("500", ""):
        served.fail(fault)
        for model in "abc":
            embed(served, model)
            assert served.chat(model=model, stream=True).status_code == (500 if fault else 200)
        assert states(served) == {"half_open"}
    answer = served.chat()
    assert (answer.status_code, answer.headers["x-router-attempts"]) == (200, "1")
    assert "closed" in states(served)


def test_a_stream_passed_on_that_breaks_says_nothing_of_the_upstream(served: Served) -> None:
    served.fail("reset_in_stream", "a")
    for _ in range(5):
        assert "broke off" in served.chat(model="a", stream=True).text
    assert states(served) == {"closed"}


def test_a_wait_asked_for_on_what_was_passed_on_stops_nothing_that_is_routed(served: Served) -> None:
    served.fail("503:60")
    assert embed(served).headers["retry-after"] == "60"
    assert states(served) == {"closed"}


def test_a_routed_404_counts_only_where_the_model_is_unknown(served: Served) -> None:
    served.fail("404")
    assert [served.chat().status_code for _ in range(5)] == [502] * 5
    assert states(served) == {"closed"}
    served.fail("unknown_model")
    assert [served.chat().status_code for _ in range(5)] == [502] * 5
    assert states(served) == {"open"}


def asked(served: Served) -> list[str]:
    """The paths of the requests that upstreams got."""
    return [seen.path for each in served.upstreams.values() for seen in each.requests]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"])
@pytest.mark.parametrize(
    "raw",
    [b'{"model": "a", "Model": "b"}', b'{"MODE\\u006c": "b", "model": "auto"}', b'{"model": "a", "Stream": true}'],
)
def test_a_key_that_some_upstream_may_take_for_the_model_is_refused(served: Served, path: str, raw: bytes) -> None:
    answer = served.client.post(path, content=raw, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert "write it in lower case" in answer.json()["error"]["message"]
    assert asked(served) == []


def test_keys_that_only_look_like_it_pass(served: Served) -> None:
    body = {"model": "a", "metadata": {"Model": "b"}, "models": ["b"], "input": "x"}
    assert served.client.post("/v1/embeddings", json=body).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/files/file-1"),
        ("POST", "/v1/files"),
        ("GET", "/v1/files"),
        ("POST", "/v1/organization/admin_api_keys"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/chat/completions/x"),
        ("POST", "/v1/embeddingsx"),
        ("POST", "/v1/Embeddings"),
        ("POST", "/v1/images/../files"),
        ("POST", "/v1/images/%2e%2e/files"),
        ("POST", "/v1/images%2f..%2ffiles"),
        ("DELETE", "/v1/audio/voices/v"),
        ("GET", "/v1/images/x"),
    ],
)
def test_the_operators_key_reaches_only_what_is_passed_on(served: Served, method: str, path: str) -> None:
    raw = json.dumps({"model": "a"}).encode()
    answer = served.client.request(method, path, content=raw, headers={"content-type": "application/json"})
    assert (answer.status_code, asked(served)) == (404, [])
    assert "serve.passed_paths" in answer.json()["error"]["message"] or ".." in path or "%2" in path


def test_further_paths_are_passed_on_by_setting(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    settings = {"passed_paths": ["/v1/files", "/v1/fine_tuning/jobs"]}
    with serving(tiny_checkpoint, tmp_path, serve=settings) as served:
        for method, path, status in [
            ("DELETE", "/v1/files/file-1", 200),
            ("GET", "/v1/files", 200),
            ("POST", "/v1/fine_tuning/jobs", 200),
            ("POST", "/v1/fine_tuning", 404),
            ("POST", "/v1/filesystem", 404),
            ("POST", "/v1/images/generations", 200),
            ("POST", "/v1/moderations", 200),
        ]:
            answer = served.client.request(method, path, json={"model": "a"})
            assert answer.status_code == status, path


def lines(caplog: pytest.LogCaptureFixture, count: int) -> list[dict[str, Any]]:
    """The log fields of the first `count` requests, which are written after their responses."""
    until = time.monotonic() + 60
    while True:
        found = [each.fields for each in list(caplog.records) if each.getMessage() == "request"]
        if len(found) >= count or time.monotonic() > until:
            return found[:count]
        time.sleep(0.01)


def test_the_line_of_a_bare_decision_names_it_too(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="router")
    decided = served.client.post("/v1/route", json={"query": "prove it", "dial": 7}).json()
    (line,) = lines(caplog, 1)
    assert (line["decision"], line["model"], line["dial"]) == (decided["id"], decided["model"], 7)
    assert line["quality"] == pytest.approx(decided["quality"], abs=1e-4)


def test_a_routed_requests_line_names_what_was_decided(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="router")
    first = served.chat(model="auto:7")
    lines(caplog, 1)
    served.fail("500", first.headers["x-router-model"])
    second = served.chat(model="auto:7")
    lines(caplog, 2)
    served.fail("500")
    served.chat(model="auto:7")
    lines(caplog, 3)
    served.chat(model="b")
    *routed, failed, passed_on = lines(caplog, 4)
    for line, told in zip(routed, (first.headers, second.headers), strict=True):
        assert line["model"] == told["x-router-model"]
        assert line["decision"] == told["x-router-decision-id"]
        assert line["dial"] == 7
        assert line["quality"] == pytest.approx(float(told["x-router-quality"]), abs=1e-4)
        assert line["cost_usd"] == pytest.approx(float(told["x-router-expected-cost-usd"]), abs=1e-8)
    assert second.headers["x-router-model"] != first.headers["x-router-model"]
    assert (failed["status"], failed["dial"]) == (502, 7)
    assert "dial" not in passed_on
