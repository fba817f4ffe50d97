"""A FastAPI service that decides in process: `uvicorn examples.fastapi_service:app`.

The engine routes concurrent requests in one batch, in a thread of its own, so that the event loop stays free.
POST /reload loads the checkpoint again without dropping a request.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from router import Router, RouterError
from router.serving.engine import Engine

CHECKPOINT = os.environ.get("ROUTER_CHECKPOINT", "checkpoints/routemix")


class Question(BaseModel):
    """Body of a request."""

    text: str
    dial: float = 3.0


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One engine for the lifetime of the service."""
    async with Engine(await asyncio.to_thread(Router.from_pretrained, CHECKPOINT)) as engine:
        app.state.engine = engine
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/choose")
async def choose(question: Question) -> dict[str, Any]:
    """The chosen model for a question, with the reasons."""
    try:
        decision = await app.state.engine.route(question.text, dial=question.dial)
    except RouterError as error:
        raise HTTPException(400, str(error)) from error
    return {"model": decision.model, "quality": decision.quality, "why": decision.reasons and decision.reasons.lines()}


@app.post("/reload")
async def reload() -> dict[str, str]:
    """Load the checkpoint again while requests go on."""
    app.state.engine.swap(await asyncio.to_thread(Router.from_pretrained, CHECKPOINT))
    return {"status": "reloaded"}
