"""LiteLLM transport: an HTTP transport for litellm:// addresses, for providers that do not speak OpenAI's protocol.

The gateway treats them as any upstream, for chat completions and responses. LiteLLM takes seconds to import, so it is
imported on the first request, with its telemetry and its online price list off. The SDK takes its own settings
(api_base, api_key, extra_headers, fallbacks, ...) by the same keyword arguments as the protocol's parameters, and
fetches pictures by URL. Either would let a client choose where this process connects, so both are filtered out.
"""

import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx

from router.errors import BodyError
from router.pools.pool import Upstream
from router.serving.upstreams.outcomes import model_unknown

CALLS = {"/chat/completions": "acompletion", "/responses": "aresponses"}
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}  # read at import
UPSTREAM, KEY = "router.upstream", "router.key"  # extensions of the httpx request
_BOTH = (
    "include metadata parallel_tool_calls prompt_cache_key safety_identifier service_tier store stream temperature "
    "tool_choice tools top_logprobs top_p user"
)
PARAMETERS = {
    "/chat/completions": frozenset(
        f"{_BOTH} audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens "
        "messages modalities n prediction presence_penalty reasoning_effort response_format seed stop stream_options "
        "thinking verbosity web_search_options".split()
    )
    - {"include", "metadata"},  # there the SDK reads settings from metadata
    "/responses": frozenset(
        f"{_BOTH} background input instructions max_output_tokens previous_response_id prompt reasoning text "
        "truncation".split()
    ),
}
TEXT = frozenset("text content refusal transcript arguments output input name id call_id tool_call_id summary".split())
FETCHED = frozenset("url image_url audio_url video_url file_url file file_data image images source".split())
_ADDRESS = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")


class LiteLLMTransport(httpx.AsyncBaseTransport):
    """A transport that answers requests to litellm://PROVIDER in OpenAI's protocol."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The provider's response; an exception of the SDK becomes the HTTP status that it stands for."""
        upstream: Upstream = request.extensions[UPSTREAM]
        call = CALLS.get(request.url.path)
        if call is None:
            return _error(404, f"{upstream.provider} is asked by LiteLLM, which knows {', '.join(CALLS)} only")
        try:
            parameters = sdk_parameters(request.url.path, json.loads(await request.aread()))
        except BodyError as error:
            return _error(400, str(error))
        litellm = _litellm()
        options = parameters | {
            "model": f"{upstream.provider}/{upstream.model}",
            "api_key": request.extensions[KEY],
            "timeout": upstream.timeout_s,
            "max_retries": 0,
            "drop_params": True,
        }
        if upstream.api_base:
            options["api_base"] = upstream.api_base
        try:
            answer = await getattr(litellm, call)(**options)
        except (litellm.exceptions.APIConnectionError, litellm.exceptions.Timeout) as error:
            kind = httpx.ReadTimeout if isinstance(error, litellm.exceptions.Timeout) else httpx.ReadError
            raise kind(type(error).__name__) from error
        except Exception as error:  # the SDK wraps providers' errors in dozens of classes with a status each
            status = int(getattr(error, "status_code", None) or 500)
            code = "model_not_found" if status == 404 and model_unknown("", str(error)) else None
            return _error(status, type(error).__name__, code)
        if options.get("stream"):
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_Events(answer))
        return _json(200, answer.model_dump_json().encode())


class _Events(httpx.AsyncByteStream):
    """The SDK's chunks as a stream of server-sent events."""

    def __init__(self, chunks: AsyncIterator[Any]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks:
                yield b"data: " + chunk.model_dump_json(exclude_none=True).encode() + b"\n\n"
        except Exception as error:
            raise httpx.ReadError(type(error).__name__) from error
        yield b"data: [DONE]\n\n"


def sdk_parameters(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of the SDK's call for `path`: the parameters of OpenAI's protocol alone.

    Raises BodyError if the request contains an address that would have to be fetched.
    """
    found = {name: value for name, value in body.items() if name in PARAMETERS[path]}
    for name in ("messages", "input"):
        if any(_addresses(found.get(name), name)):
            raise BodyError("this model's pictures and files have to be sent inside the request, as data: URLs")
    if any(isinstance(tool, Mapping) and "server_url" in tool for tool in _list(found.get("tools"))):
        raise BodyError("this model cannot be given tools that lie at a server_url")
    return found


def _addresses(value: object, key: str) -> Iterator[str]:
    """The addresses among the strings in `value`, the value of `key`; texts are left out."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _addresses(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _addresses(inner, key)
    elif isinstance(value, str) and key not in TEXT and not value.startswith("data:"):
        yield from [value] if key in FETCHED or _ADDRESS.match(value) else []


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _litellm() -> Any:
    os.environ.update(QUIET)
    import litellm

    litellm.suppress_debug_info = True
    return litellm


def _error(status: int, message: str, code: str | None = None) -> httpx.Response:
    return _json(status, json.dumps({"error": {"message": message, "type": "provider_error", "code": code}}).encode())


def _json(status: int, content: bytes) -> httpx.Response:
    """A JSON response as a stream, which httpx expects of a transport."""
    return httpx.Response(status, headers={"content-type": "application/json"}, stream=httpx.ByteStream(content))
