"""Requests for a model that the client names: what they may do to everybody else's, and where they lead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from served import Served, serving

from router.checkpoint import Checkpoint

BREAKER = {"breaker_failures": 3, "breaker_open_s": 0.2}


@pytest.fixture
def served(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Iterator[Served]:
    with serving(tiny_checkpoint, tmp_path, serve=BREAKER) as found:
        yield found


def embed(served: Served, model: str = "a") -> httpx.Response:
    return served.client.post("/v1/embeddings", json={"model": model, "input": "x"})


def states(served: Served) -> set[str]:
    return set(served.service.setup.upstreams.breaker_states().values())


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
        assert served.service.setup.upstreams.breaker_states() == {"a": "open", "b": "closed", "c": "closed"}


def test_an_upstream_that_is_gone_is_not_asked_for_others(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    nobody = {"a": {"upstream": {"api_base": "http://127.0.0.1:9/v1"}}}
    with serving(tiny_checkpoint, tmp_path, serve=BREAKER | {"breaker_open_s": 60}, **nobody) as served:
        assert [embed(served).status_code for _ in range(3)] == [502] * 3
        assert served.service.setup.upstreams.breaker_states()["a"] == "open"


def test_a_request_passed_on_is_no_probe(served: Served) -> None:
    served.fail("503")
    for _ in range(3):
        served.chat()
    for target in served.service.setup.upstreams.targets.values():
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
