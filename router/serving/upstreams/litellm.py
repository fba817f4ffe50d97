"""Asks providers of other protocols than OpenAI's through LiteLLM's SDK: an HTTP transport for litellm:// addresses.

So the gateway treats them as any upstream. LiteLLM takes seconds to import and is loaded when first asked, with its
telemetry and its look-up of prices on the network off. Knows only chat completions and responses.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx

from router.errors import BodyError
from router.pools.pool import Upstream
from router.serving.upstreams.litellm_request import sdk_parameters
from router.serving.upstreams.outcomes import model_unknown

CALLS = {"/chat/completions": "acompletion", "/responses": "aresponses"}
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}  # read at import
UPSTREAM, KEY = "router.upstream", "router.key"  # names of the request's extensions that say who is asked


class LiteLLMTransport(httpx.AsyncBaseTransport):
    """Answers requests for litellm://PROVIDER as the provider would if it spoke OpenAI's protocol."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The provider's answer; an error of the SDK as the HTTP status that it stands for."""
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
    """The SDK's chunks as a stream of events."""

    def __init__(self, chunks: AsyncIterator[Any]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks:
                yield b"data: " + chunk.model_dump_json(exclude_none=True).encode() + b"\n\n"
        except Exception as error:
            raise httpx.ReadError(type(error).__name__) from error
        yield b"data: [DONE]\n\n"


def _litellm() -> Any:
    os.environ.update(QUIET)
    import litellm

    litellm.suppress_debug_info = True
    return litellm


def _error(status: int, message: str, code: str | None = None) -> httpx.Response:
    return _json(status, json.dumps({"error": {"message": message, "type": "provider_error", "code": code}}).encode())


def _json(status: int, content: bytes) -> httpx.Response:
    """As a stream, which the caller of a transport reads it as."""
    return httpx.Response(status, headers={"content-type": "application/json"}, stream=httpx.ByteStream(content))
