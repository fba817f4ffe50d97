"""The examples, each run as its first lines say."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from fault_upstream import FaultUpstream

pytestmark = pytest.mark.end_to_end

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def checkpoint(tiny_router: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROUTER_CHECKPOINT", str(tiny_router))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return tiny_router


def test_the_plain_script_asks_the_model_it_chose(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultUpstream("up") as upstream:
        monkeypatch.setenv("UPSTREAM", upstream.api_base)
        command = [sys.executable, str(EXAMPLES / "plain_script.py"), "prove", "it"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        first, second = done.stdout.splitlines()
        assert second == "up: prove it"
        assert first.startswith(upstream.requests[0].json["model"] + " (quality 0.")


def test_the_fastapi_service_chooses_and_reloads(checkpoint: Path) -> None:
    testclient = pytest.importorskip("fastapi.testclient", reason="the example needs fastapi")
    module = importlib.import_module("fastapi_service")
    with testclient.TestClient(module.app) as client:
        found = client.post("/choose", json={"text": "prove it", "dial": 10}).json()
        assert found["model"] == "small"
        assert found["why"][0].startswith("ahead of large")
        before = module.app.state.engine.router
        assert client.post("/reload").json() == {"status": "reloaded"}
        assert module.app.state.engine.router is not before
        assert client.post("/choose", json={"text": " "}).status_code == 400


def test_the_litellm_callback_fills_in_the_model(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    pytest.importorskip("litellm", reason="the example needs litellm, which caps huggingface-hub below the tested one")
    handler = importlib.import_module("litellm_callback").handler
    data = {"model": "auto", "messages": [{"role": "user", "content": "prove it"}]}
    found = asyncio.run(handler.async_pre_call_hook(None, None, dict(data), "acompletion"))
    assert found["model"] in ("large", "small")
    kept = asyncio.run(handler.async_pre_call_hook(None, None, data | {"model": "b"}, "acompletion"))
    assert kept["model"] == "b"
    handler.engine.close()
