"""Decision endpoints `/v1/route`, `/v1/route/batch`, `/v1/decisions/{id}`, `/v1/feedback`: nothing is forwarded.

Options are read strictly: a misspelt one is an error and is not ignored.
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
from router.policy.decision import Decision
from router.pools.checks import Field, flag, not_negative, read_mapping
from router.serving.dispatch.plan import Plan
from router.serving.http.access import count_queries, key_id
from router.serving.http.decide import PlannedDecision, by_deadline, decide, log_decision, note_decision
from router.serving.protocol.conversation import READERS
from router.serving.protocol.errors import RequestError, retry_after
from router.serving.protocol.json_body import read_body
from router.serving.service import MOST_ALTERNATIVES, GatewayState, Snapshot, new_decision_id
from router.validation import shown

MOST_QUERIES = 1000  # of a batch
WRITTEN_AT_ONCE = 8  # decisions of a batch that are encoded before other requests have their turn
MOST_NAMES, LONGEST_NAME = 100, 200  # of `allow` or `deny`; Python caches about so many compiled wildcards
CONVERSATION = {"messages": "/v1/chat/completions", "input": "/v1/responses"}
TAKEN_ALONG = ("tools", "functions", "response_format", "text", "instructions", "user", "max_tokens",
               "max_completion_tokens", "max_output_tokens")  # fmt: skip  # keys of a conversation that are allowed


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"got {shown(value)}; write text")


def _strings(value: Any) -> list[str]:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise ValueError(f"got {shown(value)}; write a list of texts")


def _names(value: Any) -> list[str]:
    """Names or wildcards, short ones: the time to read a wildcard grows with the square of its length."""
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
    """The decision on one query or one conversation, with its reasons and its id."""
    started = time.monotonic()
    state: GatewayState = request.app.state.gateway
    raw = await request.body()
    snapshot, key = state.snapshot, key_id(request)
    deadline = started + snapshot.settings.deadline_s
    values = dict(read_body(raw, snapshot.settings.max_depth).values)
    _check_log(state)
    if kind := next((name for name in CONVERSATION if name in values), None):
        planned, top = await _on_conversation(request, state, snapshot, values, kind, deadline)
    else:
        options = _read(values, ROUTE)
        top, query = options.pop("top", 5), options.pop("query")
        options.pop("user", None)
        options.setdefault("dial", None if _has_goal(options) else snapshot.settings.dial)
        routing = state.engine.route(query, client=key, pool=snapshot.pool, top=top, **options)
        planned = _as_routed(await by_deadline(routing, deadline), query)
    log_decision(state, planned, key)
    note_decision(request, planned.id, planned.plan.order[0], planned.decision.dial)
    state.metrics.overhead(time.monotonic() - started)
    return JSONResponse(_shown(planned, top))


async def _on_conversation(
    request: Request, state: GatewayState, snapshot: Snapshot, values: dict[str, Any], kind: str, deadline: float
) -> tuple[PlannedDecision, int]:
    """The decision that the gateway would make on a chat or response request, requirements and session included."""
    options = _read(
        {name: value for name, value in values.items() if name not in (kind, *TAKEN_ALONG)},
        {"dial": Field(_dial), "model": Field(_string), "stream": Field(flag), **SHOWN},
    )
    conversation = READERS[CONVERSATION[kind]](values)
    dial = options.get("dial", snapshot.settings.dial)
    planned = await decide(state, snapshot, conversation, dial, request.headers, values, key_id(request), deadline)
    return planned, options.get("top", 5)


async def route_batch(request: Request) -> Response:
    """Decisions on a list of queries; the list as a whole meets a budget or a quality goal."""
    started = time.monotonic()
    state: GatewayState = request.app.state.gateway
    raw = await request.body()
    snapshot, key = state.snapshot, key_id(request)
    options = _read(read_body(raw, snapshot.settings.max_depth).values, BATCH)
    _check_log(state)
    top, queries = options.pop("top", 5), options.pop("queries")
    count_queries(request.scope, state, len(queries))
    options.setdefault("dial", None if _has_goal(options) else snapshot.settings.dial)
    routing = state.engine.route_many(queries, client=key, pool=snapshot.pool, top=top, **options)
    decisions = await by_deadline(routing, started + snapshot.settings.deadline_s)
    written: list[bytes] = []
    for each, query in zip(decisions, queries, strict=True):
        planned = _as_routed(each, query)
        log_decision(state, planned, key)
        written.append(_written(_shown(planned, top)))
        if len(written) % WRITTEN_AT_ONCE == 0:
            await asyncio.sleep(0)
    return Response(b'{"decisions":[' + b",".join(written) + b"]}", media_type="application/json")


def _as_routed(decision: Decision, query: str) -> PlannedDecision:
    """The router's decision as it is, without load and session."""
    plan = Plan(decision.alternatives, "the best of this request", {})
    return PlannedDecision(new_decision_id(), decision, plan, None, query)


async def decision(request: Request) -> JSONResponse:
    """A logged decision with its outcomes and feedback; 404 for a decision of another client key."""
    state: GatewayState = request.app.state.gateway
    return JSONResponse(await _logged(state, request.path_params["id"], key_id(request)))


async def feedback(request: Request) -> JSONResponse:
    """Attach a score to a logged decision; the score comes back."""
    state: GatewayState = request.app.state.gateway
    values = _read(read_body(await request.body(), state.snapshot.settings.max_depth).values, FEEDBACK)
    name = values["decision_id"]
    await _logged(state, name, key_id(request))
    assert state.log is not None  # without a log `_logged` raises
    try:
        await asyncio.to_thread(state.log.feedback, name, values["score"], values.get("comment"))
    except UsageError:
        raise
    except RouterError as error:  # there is no room
        raise RequestError("log_full", str(error), retry_after(60)) from error
    return JSONResponse({"decision_id": name, "score": values["score"]})


async def _logged(state: GatewayState, name: str, key_id: str | None) -> dict[str, Any]:
    if state.log is None:
        raise RequestError("not_found", "this server keeps no decisions; serve.decision_log names a file for them")
    found = await asyncio.to_thread(state.log.get, name)
    if found is None or found.get("key_id") != key_id:
        raise RequestError("not_found", f"no decision {name[:80]!r} is logged")
    return found


def _check_log(state: GatewayState) -> None:
    if state.log is not None and state.log.full:
        raise RequestError("log_full", "the decision log is full, and the server refuses requests then")


def _read(values: Mapping[str, Any], schema: Mapping[str, Field]) -> dict[str, Any]:
    problems: list[str] = []
    found = read_mapping("", dict(values), schema, problems)
    if problems:
        raise QueryError("; ".join(problems))
    return found


def _has_goal(options: Mapping[str, Any]) -> bool:
    return any(options.get(name) is not None for name in ("budget_usd_per_1k", "quality_at_least"))


def _shown(planned: PlannedDecision, top: int) -> dict[str, Any]:
    raw = planned.to_json()
    reasons = planned.decision.reasons
    lines = [] if reasons is None else reasons.lines()
    return {"id": planned.id} | raw | {"alternatives": raw["alternatives"][:top], "reasons_text": lines}


def _written(values: Mapping[str, Any]) -> bytes:
    """JSON as a JSONResponse writes it."""
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
