"""What of a client's request reaches LiteLLM's SDK: the parameters of OpenAI's protocol, and no address. Pure.

The SDK takes its own settings (api_base, api_key, extra_headers, fallbacks, ...) by the same keyword arguments, and
fetches pictures that a message only points to. Either would let a client choose where this process connects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from router.errors import BodyError

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
    - {"include", "metadata"},  # the SDK's own settings go by metadata there
    "/responses": frozenset(
        f"{_BOTH} background input instructions max_output_tokens previous_response_id prompt reasoning text "
        "truncation".split()
    ),
}
TEXT = frozenset("text content refusal transcript arguments output input name id call_id tool_call_id summary".split())
FETCHED = frozenset("url image_url audio_url video_url file_url file file_data image images source".split())
_ADDRESS = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")


def sdk_parameters(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments for the SDK's call that stands for `path`; what OpenAI's protocol lacks is left out.

    Raises BodyError where the request points to something that would have to be fetched.
    """
    found = {name: value for name, value in body.items() if name in PARAMETERS[path]}
    for name in ("messages", "input"):
        if any(_addresses(found.get(name), name)):
            raise BodyError("this model's pictures and files have to be sent inside the request, as data: URLs")
    if any(isinstance(tool, Mapping) and "server_url" in tool for tool in _list(found.get("tools"))):
        raise BodyError("this model cannot be given tools that lie at a server_url")
    return found


def _addresses(value: object, key: str) -> Iterator[str]:
    """The strings in `value`, which stands under `key`, that are no text and say where something lies."""
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
