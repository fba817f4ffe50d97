"""A callback for the LiteLLM proxy that chooses the model of requests with `model: auto`.

The proxy's configuration needs `litellm_settings: {callbacks: examples.litellm_callback.handler}`, and in its
model_list an entry for each model of the pool and one named `auto` with any of them.
"""

from __future__ import annotations

import os
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from router import Router
from router.serving.engine import Engine
from router.serving.protocol.conversation import read_chat

CHECKPOINT = os.environ.get("ROUTER_CHECKPOINT", "checkpoints/routemix")
HEAD_CHARS = 384  # about as much as the encoder reads of a text's beginning


class RouterCallback(CustomLogger):
    """Hook that decides before the proxy forwards a request."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> dict[str, Any]:
        """The request, with the chosen model in place of `auto`."""
        if data.get("model") == "auto" and "messages" in data:
            decision = await self.engine.route(read_chat(data).query(HEAD_CHARS))
            data["model"] = decision.model
        return data


handler = RouterCallback(Engine(Router.from_pretrained(CHECKPOINT)))  # as the proxy starts
