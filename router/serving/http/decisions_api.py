"""Decision endpoints `/v1/route`, `/v1/route/batch`, `/v1/decisions/{id}`, `/v1/feedback`: nothing is forwarded.

Options are read strictly: a misspelt one is an error and is not ignored.
"""

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.errors import RouterError
from router.policy.decision import Decision
from router.serving.dispatch.plan import Plan
from router.serving.http.access import count_queries, key_id
from router.serving.http.decide import PlannedDecision, by_deadline, check_log, decide, finish_decision, log_decision
from router.serving.protocol.bodies import Batch, ConversationOptions, Feedback, Route, read_own
from router.serving.protocol.conversation import READERS
from router.serving.protocol.errors import RequestError, retry_after
from router.serving.protocol.json_body import read_body
from router.serving.service import GatewayState, Snapshot, new_decision_id

WRITTEN_AT_ONCE = 8  # decisions of a batch that are encoded before other requests have their turn
CONVERSATION = {"messages": "/v1/chat/completions", "input": "/v1/responses"}
TAKEN_ALONG = ("tools", "functions", "response_format", "text", "instructions", "user", "max_tokens",
               "max_completion_tokens", "max_output_tokens")  # fmt: skip  # keys of a conversation that are allowed


async def route(request: Request) -> JSONResponse:
    """The decision on one query or one conversation, with its reasons and its id."""
    started = time.monotonic()
    state: GatewayState = request.app.state.gateway
    raw = await request.body()
    snapshot = state.snapshot
    deadline = started + snapshot.settings.deadline_s
    values = dict(read_body(raw, snapshot.settings.max_depth).values)
    check_log(state)
    if kind := next((name for name in CONVERSATION if name in values), None):
        planned, top = await _on_conversation(request, snapshot, values, kind, deadline)
    else:
        asked = read_own(Route, values)
        options = asked.of_engine(snapshot.settings.dial)
        routing = state.engine.route(asked.query, client=key_id(request), pool=snapshot.pool, **options)
        planned, top = _as_routed(await by_deadline(routing, deadline), asked.query), asked.top
    finish_decision(request, planned, started)
    return JSONResponse(_shown(planned, top))


async def _on_conversation(
    request: Request, snapshot: Snapshot, values: dict[str, Any], kind: str, deadline: float
) -> tuple[PlannedDecision, int]:
    """The decision that the gateway would make on a chat or response request, requirements and session included."""
    own = {name: value for name, value in values.items() if name not in (kind, *TAKEN_ALONG)}
    options = read_own(ConversationOptions, own)
    conversation = READERS[CONVERSATION[kind]](values)
    dial = snapshot.settings.dial if options.dial is None else options.dial
    return await decide(request, snapshot, conversation, values, dial, deadline), options.top


async def route_batch(request: Request) -> Response:
    """Decisions on a list of queries; the list as a whole meets a budget or a quality goal."""
    started = time.monotonic()
    state: GatewayState = request.app.state.gateway
    raw = await request.body()
    snapshot = state.snapshot
    asked = read_own(Batch, read_body(raw, snapshot.settings.max_depth).values)
    check_log(state)
    count_queries(request.scope, state, len(asked.queries))
    options = asked.of_engine(snapshot.settings.dial)
    routing = state.engine.route_many(asked.queries, client=key_id(request), pool=snapshot.pool, **options)
    decisions = await by_deadline(routing, started + snapshot.settings.deadline_s)
    written: list[bytes] = []
    for each, query in zip(decisions, asked.queries, strict=True):
        planned = _as_routed(each, query)
        log_decision(request, planned)
        written.append(bytes(JSONResponse(_shown(planned, asked.top)).body))
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
    asked = read_own(Feedback, read_body(await request.body(), state.snapshot.settings.max_depth).values)
    await _logged(state, asked.decision_id, key_id(request))
    assert state.log is not None  # without a log `_logged` raises
    try:
        await asyncio.to_thread(state.log.feedback, asked.decision_id, asked.score, asked.comment)
    except RouterError as error:  # there is no room
        raise RequestError("log_full", str(error), retry_after(60)) from error
    return JSONResponse({"decision_id": asked.decision_id, "score": asked.score})


async def _logged(state: GatewayState, name: str, key_id: str | None) -> dict[str, Any]:
    if state.log is None:
        raise RequestError("not_found", "this server keeps no decisions; serve.decision_log names a file for them")
    found = await asyncio.to_thread(state.log.get, name)
    if found is None or found.get("key_id") != key_id:
        raise RequestError("not_found", f"no decision {name[:80]!r} is logged")
    return found


def _shown(planned: PlannedDecision, top: int) -> dict[str, Any]:
    raw = planned.to_json()
    reasons = planned.decision.reasons
    lines = [] if reasons is None else reasons.lines()
    return {"id": planned.id} | raw | {"alternatives": raw["alternatives"][:top], "reasons_text": lines}
