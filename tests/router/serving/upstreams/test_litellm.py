"""LiteLLM transport end to end, with a stand-in for the SDK, and with the SDK itself if it is installed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from fixtures.fault_upstream import FaultUpstream
from fixtures.served import Served, serving

from router.checkpoint.checkpoint import Checkpoint

pytestmark = pytest.mark.end_to_end


class APIConnectionError(Exception):
    status_code = 500


class Timeout(APIConnectionError):
    status_code = 408


class RateLimitError(Exception):
    status_code = 429


class NotFoundError(Exception):
    status_code = 404


class StandIn:
    """The part of the SDK that the transport uses."""

    exceptions = SimpleNamespace(APIConnectionError=APIConnectionError, Timeout=Timeout)

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.error: Exception | None = None

    async def acompletion(self, **options: Any) -> Any:
        self.calls.append(options)
        if self.error is not None:
            raise self.error
        raw = FaultUpstream("sdk").answer(options, "/chat/completions")
        if options.get("stream"):
            return self._chunks(options)
        return openai.types.chat.ChatCompletion.model_validate(raw)

    async def _chunks(self, options: dict[str, Any]) -> AsyncIterator[Any]:
        for text in ("one ", "two"):
            delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            raw = {
                "id": "c",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": options["model"],
                "choices": [delta],
            }
            yield openai.types.chat.ChatCompletionChunk.model_validate(raw)


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn()
    monkeypatch.setitem(sys.modules, "litellm", found)
    monkeypatch.setattr("router.serving.settings.find_spec", lambda name: object())
    monkeypatch.setenv("OTHER_KEY", "sk-other")
    return found


def other(name: str = "a") -> dict[str, Any]:
    return {name: {"upstream": {"provider": "anthropic", "api_base": None, "model": "claude", "key_env": "OTHER_KEY"}}}


def ask(served: Served, **options: Any) -> Any:
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
    messages: Any = [{"role": "user", "content": "prove it"}]
    return client.chat.completions.create(**{"model": "a", "messages": messages} | options)


def test_the_sdk_is_asked_by_its_name_for_the_provider_and_streams(
    tiny_checkpoint: Checkpoint, tmp_path: Path, sdk: StandIn
) -> None:
    with serving(tiny_checkpoint, tmp_path, names=("a",), **other()) as served:
        assert ask(served, model="auto").choices[0].message.content == "sdk: prove it"
        [call] = sdk.calls
        assert (call["model"], call["api_key"], call["max_retries"]) == ("anthropic/claude", "sk-other", 0)
        assert "api_base" not in call
        assert "".join(c.choices[0].delta.content or "" for c in ask(served, stream=True)) == "one two"
        refused = served.client.post("/v1/embeddings", json={"model": "a", "input": "x"})
        assert refused.status_code == 404


def test_the_sdk_makes_the_address_of_a_provider_that_has_one(
    tiny_checkpoint: Checkpoint, tmp_path: Path, sdk: StandIn
) -> None:
    entry = other()
    entry["a"]["upstream"] |= {"provider": "azure", "api_base": "http://127.0.0.1:9/v1"}
    with serving(tiny_checkpoint, tmp_path, names=("a",), **entry) as served:
        assert ask(served, model="auto").choices[0].message.content == "sdk: prove it"
    assert [call["api_base"] for call in sdk.calls] == ["http://127.0.0.1:9/v1"]


@pytest.mark.parametrize("error", [RateLimitError("x"), Timeout("x"), APIConnectionError("x"), ValueError("x")])
def test_its_errors_are_those_of_any_upstream(
    tiny_checkpoint: Checkpoint, tmp_path: Path, sdk: StandIn, error: Exception
) -> None:
    sdk.error = error
    with serving(tiny_checkpoint, tmp_path, **other("a"), b={"upstream": {"retry_after_send": True}}) as served:
        for dial in (0, 5, 10):
            assert ask(served, model=f"auto:{dial}").choices[0].message.content[0] in "bc"
        assert served.chat(model="a").status_code in (429, 500, 502, 504)


@pytest.mark.parametrize(("told", "state"), [("The model claude does not exist", "open"), ("no such file", "closed")])
def test_its_404_counts_only_where_the_model_is_unknown(
    tiny_checkpoint: Checkpoint, tmp_path: Path, sdk: StandIn, told: str, state: str
) -> None:
    sdk.error = NotFoundError(f"litellm.NotFoundError: AnthropicException - {told}")
    with serving(tiny_checkpoint, tmp_path, names=("a",), serve={"breaker_failures": 1}, **other("a")) as served:
        assert served.chat().status_code == 502
        assert served.state.snapshot.upstreams.breaker_states() == {"a": state}


def test_it_is_not_imported_for_upstreams_that_speak_openais_protocol(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with serving(tiny_checkpoint, tmp_path) as served:
        assert served.chat().status_code == 200
    assert "litellm" not in sys.modules


def test_the_sdk_itself_forwards(tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    pytest.importorskip(
        "litellm", reason="litellm caps huggingface-hub below the tested version: an environment of its own"
    )
    monkeypatch.setenv("OTHER_KEY", "sk-other")
    with FaultUpstream("deep") as deep:
        entry = {
            "a": {
                "upstream": {"provider": "hosted_vllm", "api_base": deep.api_base, "model": "m", "key_env": "OTHER_KEY"}
            }
        }
        with serving(tiny_checkpoint, tmp_path, names=("a",), **entry) as served:
            assert ask(served, model="auto").choices[0].message.content == "deep: prove it"
            parts = [c.choices[0].delta.content or "" for c in ask(served, stream=True) if c.choices]
            assert "".join(parts) == "deep: prove it"
            deep.fault = "429"
            assert served.chat(model="a").status_code == 429
            assert deep.requests[0].headers["authorization"] == "Bearer sk-other"
