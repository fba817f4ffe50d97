"""OpenAPI document of the server, as plain data: for people, generated clients and fuzzers.

Of OpenAI's own endpoints it describes the fields that the gateway reads; the gateway passes all others on unread.
"""

from typing import Any

from pydantic.json_schema import models_json_schema

import router as package
from router.serving.protocol.bodies import Batch, Chat, Decision, Error, Feedback, Response, Route

REF = "#/components/schemas/{model}"
MODELS = (Error, Route, Batch, Decision, Feedback, Chat, Response)
SCHEMAS = models_json_schema([(each, "validation") for each in MODELS], ref_template=REF)[1]["$defs"]


def document() -> dict[str, Any]:
    """The document, of OpenAPI version 3.1."""
    paths = {
        "/v1/chat/completions": _post("Chat", "Chat completion, routed for model auto", None),
        "/v1/responses": _post("Response", "Response, routed for model auto", None),
        "/v1/route": _post("Route", "The decision on a query; messages or input in place of query also do", "Decision"),
        "/v1/route/batch": _post("Batch", "Decisions on a list; a goal is met as a whole", None),
        "/v1/feedback": _post("Feedback", "Attach a score to a decision", None),
        "/v1/decisions/{id}": {
            "get": _operation("A logged decision and what became of it", None)
            | {"parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]}
        },
        "/v1/models": {"get": _operation("auto and all models", None)},
        "/health": {"get": _operation("200 once requests are answered, else 503", None)},
        "/metrics": {"get": _operation("Figures for Prometheus", None, {"text/plain": {}})},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "InferenceDynamics router", "version": package.__version__},
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"key": []}],
    }


def _post(body: str, summary: str, answer: str | None) -> dict[str, Any]:
    return {"post": _operation(summary, answer) | {"requestBody": {"required": True, "content": _json(body)}}}


def _operation(summary: str, answer: str | None, content: Any = None) -> dict[str, Any]:
    content = content or (_json(answer) if answer else {"application/json": {}, "text/event-stream": {}})
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "the answer", "content": content},
            "default": {"description": "an error in OpenAI's shape", "content": _json("Error")},
        },
    }


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(model=schema)}}}
