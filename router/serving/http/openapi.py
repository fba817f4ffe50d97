"""OpenAPI document of the server, as plain data: for people, generated clients and fuzzers.

Of OpenAI's own endpoints it describes the fields that the gateway reads; the gateway passes all others on unread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import router as package
from router.serving.http.decisions_api import MOST_QUERIES
from router.serving.protocol.conversation import ROLES
from router.serving.service import MOST_ALTERNATIVES

_TEXT, _FLAG, _OBJECT = {"type": "string"}, {"type": "boolean"}, {"type": "object"}
_DIAL = {"type": "number", "minimum": 0, "maximum": 10, "description": "0: quality at any price, 10: least cost"}
_NAMES = {"type": "array", "items": _TEXT}
_OPTIONS: dict[str, Any] = {
    "budget_usd_per_1k": {"type": "number", "minimum": 0},
    "quality_at_least": {"type": "number", "minimum": 0, "maximum": 1},
    "allow": _NAMES,
    "deny": _NAMES,
    "tools": _FLAG,
    "images": _FLAG,
    "context_tokens": {"type": "integer", "minimum": 0, "maximum": 10**9},
    "max_price_usd_per_mtok": {"type": "number", "minimum": 0},
    "guard": _FLAG,
    "attitude": {"enum": ["optimistic", "neutral", "pessimistic"]},
    "top": {"type": "integer", "minimum": 1, "maximum": MOST_ALTERNATIVES},
}
_TOKENS = {"type": ["integer", "null"], "minimum": 0}
_MODEL = {"type": "string", "minLength": 1, "description": "auto, auto:0 to auto:10, or a model of GET /v1/models"}
_MESSAGE = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"enum": list(ROLES)},
        "content": {"type": ["string", "array", "null"], "items": _OBJECT},
        "tool_calls": {"type": "array", "items": _OBJECT},
    },
}
SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "code"],
                "properties": {"message": _TEXT, "type": _TEXT, "param": {}, "code": {"type": ["string", "null"]}},
            }
        },
    },
    "Route": {
        "type": "object",
        "required": ["query"],
        "additionalProperties": False,
        "properties": {"query": {"type": "string", "minLength": 1}, "dial": _DIAL, "user": _TEXT, **_OPTIONS},
    },
    "Batch": {
        "type": "object",
        "required": ["queries"],
        "additionalProperties": False,
        "properties": {
            "queries": {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": MOST_QUERIES},
            "dial": {"anyOf": [_DIAL, {"type": "array", "items": _DIAL}]},
            **_OPTIONS,
        },
    },
    "Decision": {
        "type": "object",
        "required": ["id", "model", "quality", "cost_usd", "alternatives", "why", "order"],
        "properties": {
            "id": _TEXT,
            "model": _TEXT,
            "quality": {"type": "number", "minimum": 0, "maximum": 1},
            "cost_usd": {"type": "number", "minimum": 0},
            "alternatives": {"type": "array", "items": _OBJECT},
            "order": _NAMES,
            "why": _TEXT,
        },
    },
    "Feedback": {
        "type": "object",
        "required": ["decision_id", "score"],
        "additionalProperties": False,
        "properties": {
            "decision_id": _TEXT,
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "comment": {"type": "string", "maxLength": 10_000},
        },
    },
    "Chat": {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "model": _MODEL,
            "messages": {"type": "array", "items": _MESSAGE, "minItems": 1},
            "stream": {"type": ["boolean", "null"]},
            "tools": {"type": ["array", "null"], "items": _OBJECT},
            "max_tokens": _TOKENS,
            "max_completion_tokens": _TOKENS,
        },
    },
    "Response": {
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": _MODEL,
            "input": {"type": ["string", "array"], "items": _OBJECT},
            "instructions": {"type": ["string", "null"]},
            "stream": {"type": ["boolean", "null"]},
            "tools": {"type": ["array", "null"], "items": _OBJECT},
            "max_output_tokens": _TOKENS,
        },
    },
}


def document() -> dict[str, Any]:
    """The document, of OpenAPI version 3.1."""
    error = {"description": "an error in OpenAI's shape", "content": _json("Error")}
    paths = {
        "/v1/chat/completions": _post("Chat", "Chat completion, routed for model auto", None),
        "/v1/responses": _post("Response", "Response, routed for model auto", None),
        "/v1/route": _post("Route", "The decision on a query; messages or input in place of query also do", "Decision"),
        "/v1/route/batch": _post("Batch", "Decisions on a list; a goal is met as a whole", None),
        "/v1/feedback": _post("Feedback", "Attach a score to a decision", None),
        "/v1/decisions/{id}": {
            "get": _operation("A logged decision and what became of it", None)
            | {"parameters": [{"name": "id", "in": "path", "required": True, "schema": _TEXT}]}
        },
        "/v1/models": {"get": _operation("auto and all models", None)},
        "/health": {"get": _operation("200 once requests are answered, else 503", None)},
        "/metrics": {
            "get": _operation("Figures for Prometheus", None)
            | {"responses": {"200": {"description": "as text", "content": {"text/plain": {}}}, "default": error}}
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "InferenceDynamics router", "version": package.__version__},
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _post(body: str, summary: str, answer: str | None) -> dict[str, Any]:
    return {"post": _operation(summary, answer) | {"requestBody": {"required": True, "content": _json(body)}}}


def _operation(summary: str, answer: str | None) -> dict[str, Any]:
    content: Mapping[str, Any] = _json(answer) if answer else {"application/json": {}, "text/event-stream": {}}
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "the answer", "content": content},
            "default": {"description": "an error in OpenAI's shape", "content": _json("Error")},
        },
    }


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
