"""`/v1/route`, `/v1/route/batch`, `/v1/decisions/{id}`, `/v1/feedback`: decisions for those who forward by themselves.

Reads options strictly, so that a misspelt one is told and not ignored.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.errors import QueryError, RouterError, UsageError
from router.pools.schema import Field, flag, not_negative, read_mapping, shown
from router.serving.dispatch.plan import Plan
from router.serving.http.access import count_queries
from router.serving.http.decide import Decided, by_deadline, decide, log_decision
from router.serving.protocol.conversation import READERS
from router.serving.protocol.errors import RequestError, retry_after
from router.serving.protocol.json_body import read_body
from router.serving.service import MOST_ALTERNATIVES, Service, Setup, new_decision_id

MOST_QUERIES = 1000  # of a batch
TOLD_AT_ONCE = 8  # decisions of a batch that are written before other requests have their turn
MOST_NAMES, LONGEST_NAME = 100, 200  # allowed or denied at a time; as many wildcards as Python keeps compiled
CONVERSATION = {"messages": "/v1/chat/completions", "input": "/v1/responses"}
TAKEN_ALONG = ("tools", "functions", "response_format", "text", "instructions", "user", "max_tokens",
               "max_completion_tokens", "max_output_tokens")  # fmt: skip  # of a conversation's body


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"got {shown(value)}; write text")


def _strings(value: Any) -> list[str]:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise ValueError(f"got {shown(value)}; write a list of texts")


def _names(value: Any) -> list[str]:
    """Names or wildcards: short, since the time to read a wildcard grows with the square of its length."""
    found = _strings(value)
    if len(found) <= MOST_NAMES and all(len(each) <= LONGEST_NAME for each in found):
        return found
    raise ValueError(f"write at most {MOST_NAMES:,} names or wildcards of at most {LONGEST_NAME} characters")


def _queries(value: Any) -> list[str]:
    if len(found := _strings(value)) <= MOST_QUERIES:
        return found
    raise ValueError(f"got {len(found):,} queries; at most {MOST_QUERIES:,} are routed together")


def _dials(value: Any) -> float | list[float]:
    return [_dial(each) for each in value] if isinstance(value, list) else _dial(value)


def _dial(value: Any) -> float:
    if (number := not_negative(value)) <= 10:
        return number
    raise ValueError(f"got {shown(value)}; write a number from 0 (quality at any price) to 10 (least predicted cost)")


def _count(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**9:
        return value
    raise ValueError(f"got {shown(value)}; write a whole number")


def _top(value: Any) -> int:
    if 1 <= (number := _count(value)) <= MOST_ALTERNATIVES:
        return number
    raise ValueError(f"got {shown(value)}; write a whole number from 1 to {MOST_ALTERNATIVES}")


OPTIONS = {
    "budget_usd_per_1k": Field(not_negative),
    "quality_at_least": Field(not_negative),
    "allow": Field(_names),
    "deny": Field(_names),
    "tools": Field(flag),
    "images": Field(flag),
    "context_tokens": Field(_count),
    "max_price_usd_per_mtok": Field(not_negative),
    "guard": Field(flag),
    "attitude": Field(_string),
}
SHOWN = {"top": Field(_top)}
ROUTE = {"query": Field(_string, required="give the text to route on, or messages or input in its place")} | OPTIONS
ROUTE |= {"dial": Field(_dial), "user": Field(_string)} | SHOWN
BATCH = {"queries": Field(_queries, required="give a list of texts")} | OPTIONS | {"dial": Field(_dials)} | SHOWN
FEEDBACK = {
    "decision_id": Field(_string, required="name the decision"),
    "score": Field(not_negative, required="give a number from 0 to 1"),
    "comment": Field(_string),
}


async def route(request: Request) -> JSONResponse:
    """The decision on one query or conversation, with its reasons and its id."""
    started = time.monotonic()
    service: Service = request.app.state.service
    raw = await request.body()
    setup, key_id = service.setup, _key_id(request)
    deadline = started + setup.settings.deadline_s
    values = dict(read_body(raw, setup.settings.max_depth).values)
    _check_log(service)
    if kind := next((name for name in CONVERSATION if name in values), None):
        decided, top = await _on_conversation(request, service, setup, values, kind, deadline)
    else:
        options = _read(values, ROUTE)
        top, query = options.pop("top", 5), options.pop("query")
        options.pop("user", None)
        options.setdefault("dial", None if _has_goal(options) else setup.settings.dial)
        asked = service.engine.route(query, client=key_id, pool=setup.pool, top=top, **options)
        decision = await by_deadline(asked, deadline)
        plan = Plan(decision.alternatives, "the best of this request", {})
        decided = Decided(new_decision_id(), decision, plan, None, query)
    log_decision(service, decided, key_id)
    service.metrics.overhead(time.monotonic() - started)
    return JSONResponse(_shown(decided, top))


async def _on_conversation(
    request: Request, service: Service, setup: Setup, values: dict[str, Any], kind: str, deadline: float
) -> tuple[Decided, int]:
    """The decision on a chat or response request, demands and session included, as the gateway would decide it."""
    options = _read(
        {name: value for name, value in values.items() if name not in (kind, *TAKEN_ALONG)},
        {"dial": Field(_dial), "model": Field(_string), "stream": Field(flag), **SHOWN},
    )
    conversation = READERS[CONVERSATION[kind]](values)
    headers = {name: request.headers[name] for name in ("x-session-id",) if name in request.headers}
    dial = options.get("dial", setup.settings.dial)
    decided = await decide(service, setup, conversation, dial, headers, values, _key_id(request), deadline)
    return decided, options.get("top", 5)


async def route_batch(request: Request) -> Response:
    """Decisions on a list of queries; a budget or quality is met by the list as a whole."""
    started = time.monotonic()
    service: Service = request.app.state.service
    raw = await request.body()
    setup, key_id = service.setup, _key_id(request)
    options = _read(read_body(raw, setup.settings.max_depth).values, BATCH)
    _check_log(service)
    top, queries = options.pop("top", 5), options.pop("queries")
    count_queries(request.scope, service, len(queries))
    options.setdefault("dial", None if _has_goal(options) else setup.settings.dial)
    asked = service.engine.route_many(queries, client=key_id, pool=setup.pool, top=top, **options)
    decisions = await by_deadline(asked, started + setup.settings.deadline_s)
    told: list[bytes] = []
    for each, query in zip(decisions, queries, strict=True):
        plan = Plan(each.alternatives, "the best of this request", {})
        decided = Decided(new_decision_id(), each, plan, None, query)
        log_decision(service, decided, key_id)
        told.append(_written(_shown(decided, top)))
        if len(told) % TOLD_AT_ONCE == 0:
            await asyncio.sleep(0)
    return Response(b'{"decisions":[' + b",".join(told) + b"]}", media_type="application/json")


async def decision(request: Request) -> JSONResponse:
    """A logged decision with what became of it; those of other client keys are not found."""
    service: Service = request.app.state.service
    return JSONResponse(await _logged(service, request.path_params["id"], _key_id(request)))


async def feedback(request: Request) -> JSONResponse:
    """Attach a score to a logged decision."""
    service: Service = request.app.state.service
    values = _read(read_body(await request.body(), service.setup.settings.max_depth).values, FEEDBACK)
    name = values["decision_id"]
    await _logged(service, name, _key_id(request))
    assert service.log is not None  # else it was not found
    try:
        await asyncio.to_thread(service.log.feedback, name, values["score"], values.get("comment"))
    except UsageError:
        raise
    except RouterError as error:  # there is no room
        raise RequestError("log_full", str(error), retry_after(60)) from error
    return JSONResponse({"decision_id": name, "score": values["score"]})


async def _logged(service: Service, name: str, key_id: str | None) -> dict[str, Any]:
    if service.log is None:
        raise RequestError("not_found", "this server keeps no decisions; serve.decision_log names a file for them")
    found = await asyncio.to_thread(service.log.get, name)
    if found is None or found.get("key_id") != key_id:
        raise RequestError("not_found", f"no decision {name[:80]!r} is logged")
    return found


def _check_log(service: Service) -> None:
    if service.log is not None and service.log.full:
        raise RequestError("log_full", "the decision log is full, and the server is told to refuse then")


def _read(values: Mapping[str, Any], schema: Mapping[str, Field]) -> dict[str, Any]:
    problems: list[str] = []
    found = read_mapping("", dict(values), schema, problems)
    if problems:
        raise QueryError("; ".join(problems))
    return found


def _has_goal(options: Mapping[str, Any]) -> bool:
    return any(options.get(name) is not None for name in ("budget_usd_per_1k", "quality_at_least"))


def _shown(decided: Decided, top: int) -> dict[str, Any]:
    raw = decided.to_json()
    reasons = decided.decision.reasons
    lines = [] if reasons is None else reasons.lines()
    return {"id": decided.id} | raw | {"alternatives": raw["alternatives"][:top], "reasons_text": lines}


def _written(values: Mapping[str, Any]) -> bytes:
    """As a JSONResponse writes it."""
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _key_id(request: Request) -> str | None:
    key = request.scope.get("router.key")
    return None if key is None else str(key.id)
