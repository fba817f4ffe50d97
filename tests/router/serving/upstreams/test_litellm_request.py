"""Arguments of LiteLLM's SDK: nothing that steers where it connects."""

from __future__ import annotations

import asyncio
import json
import sys
import types
from typing import Any

import httpx
import pytest

from router.errors import BodyError
from router.pools.pool import Upstream
from router.serving.upstreams.litellm import KEY, UPSTREAM, LiteLLMTransport, sdk_parameters

CHAT, RESPONSES = "/chat/completions", "/responses"
STEERING = {
    "api_base": "http://192.0.2.1", "base_url": "http://192.0.2.1", "api_key": "x", "custom_llm_provider": "openai",
    "extra_headers": {"x": "y"}, "extra_body": {"a": 1}, "headers": {"x": "y"}, "fallbacks": [{"model": "gpt-4"}],
    "model_list": [{}], "mock_response": "free", "metadata": {"a": "b"}, "litellm_params": {"api_base": "http://x"},
    "aws_bedrock_runtime_endpoint": "http://192.0.2.1", "vertex_credentials": "{}", "azure_ad_token": "x",
    "organization": "o", "deployment_id": "d", "api_version": "v", "client": "c", "num_retries": 9, "timeout": 1e9,
    "callbacks": ["x"], "shared_session": 1, "ssl_verify": False,
}  # fmt: skip


def test_only_parameters_of_the_protocol_reach_the_sdk() -> None:
    asked = {"messages": [{"role": "user", "content": "see https://example.com"}], "temperature": 0.5, "n": 2}
    assert sdk_parameters(CHAT, {"model": "m", **asked, **STEERING}) == asked
    kept = sdk_parameters(RESPONSES, {"model": "m", "input": "https://example.com", **STEERING})
    assert kept == {"input": "https://example.com", "metadata": {"a": "b"}}


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}],
        [{"type": "image_url", "image_url": "https://192.0.2.1/x.png"}],
        [{"type": "image_url", "image_url": {"url": "/etc/passwd"}}],
        [{"type": "input_image", "image_url": " HTTP://192.0.2.1"}],
        [{"type": "file", "file": {"file_id": "gs://bucket/x"}}],
        [{"type": "file", "file": {"file_data": "file:///etc/passwd"}}],
        [{"type": "input_file", "file_url": "https://192.0.2.1"}],
        [{"type": "strange", "deep": [{"er": {"new_kind": "ftp://192.0.2.1"}}]}],
        {"type": "image_url", "image_url": {"url": "https://192.0.2.1"}},
    ],
    ids=str,
)
def test_what_would_have_to_be_fetched_is_refused(content: Any) -> None:
    for path, name in ((CHAT, "messages"), (RESPONSES, "input")):
        with pytest.raises(BodyError, match="data: URLs"):
            sdk_parameters(path, {name: [{"role": "user", "content": content}]})


def test_a_message_with_a_list_of_pictures_beside_its_content_is_refused() -> None:
    with pytest.raises(BodyError, match="data: URLs"):
        sdk_parameters(CHAT, {"messages": [{"role": "user", "content": "x", "images": ["/etc/passwd"]}]})


def test_text_pictures_inside_the_request_calls_and_tools_pass() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "open", "arguments": '{"url": "https://x"}'}}
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}
    asked = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "https://example.com"}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "http://example.com is down"},
        ],
        "tools": [{"type": "function", "function": {"name": "open", "parameters": schema}}],
    }
    assert sdk_parameters(CHAT, asked) == asked


def test_a_tool_that_lies_at_an_address_is_refused() -> None:
    with pytest.raises(BodyError, match="server_url"):
        sdk_parameters(RESPONSES, {"input": "x", "tools": [{"type": "mcp", "server_url": "https://192.0.2.1"}]})


def test_the_sdk_is_asked_with_the_pools_address_and_key_whatever_the_client_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []

    class Answer:
        def model_dump_json(self) -> str:
            return "{}"

    async def acompletion(**options: Any) -> Answer:
        asked.append(options)
        return Answer()

    class OtherError(Exception):
        pass

    exceptions = types.SimpleNamespace(APIConnectionError=OtherError, Timeout=OtherError)
    sdk = types.SimpleNamespace(acompletion=acompletion, exceptions=exceptions)
    monkeypatch.setitem(sys.modules, "litellm", sdk)
    upstream = Upstream(None, "claude", provider="anthropic", timeout_s=5)

    def ask(body: dict[str, Any]) -> httpx.Response:
        request = httpx.Request(
            "POST",
            "litellm://anthropic/chat/completions",
            content=json.dumps(body),
            extensions={UPSTREAM: upstream, KEY: "sk-operator"},
        )
        return asyncio.run(LiteLLMTransport().handle_async_request(request))

    messages = [{"role": "user", "content": "hi"}]
    assert ask({"model": "m", "messages": messages, **STEERING}).status_code == 200
    assert asked == [
        {"messages": messages, "model": "anthropic/claude", "api_key": "sk-operator", "timeout": 5, "max_retries": 0,
         "drop_params": True}
    ]  # fmt: skip
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254"}}]}]
    answer = ask({"messages": picture})
    assert (answer.status_code, len(asked)) == (400, 1)
