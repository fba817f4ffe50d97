"""Decision for one request: requirements, the router's decision, then load and session, which give the plan.

The gateway and `/v1/route` both decide here, and log the decision here. This module sends nothing to upstreams.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from router.policy.decision import Alternative, Decision
from router.serving.dispatch.plan import Plan, always_best, demands, make_plan
from router.serving.dispatch.session_keys import kept_upstream
from router.serving.http.access import key_id
from router.serving.protocol.bodies import MOST_ALTERNATIVES
from router.serving.protocol.conversation import Conversation
from router.serving.protocol.errors import RequestError, retry_after
from router.serving.service import GatewayState, Snapshot, new_decision_id
from router.serving.telemetry.log_rows import DecisionRow

T = TypeVar("T")
LEAST_LOGIT = 0.001  # smaller shares are left out of the reasons, which makes them an eighth as long


@dataclass(frozen=True)
class PlannedDecision:
    """A decision with its id, the plan that load and session make of it, and the text it was made from."""

    id: str
    decision: Decision
    plan: Plan
    session: str | None
    text: str

    def to_json(self) -> dict[str, Any]:
        """The router's decision as JSON fields, with those of the plan."""
        first = self.plan.order[0]
        raw = self.decision.to_json(LEAST_LOGIT) | asdict(first)
        return raw | {
            "routed_model": self.decision.model,  # by the router, before load and session
            "order": [each.model for each in self.plan.order],
            "why": self.plan.reason,
            "pressure": {model: round(value, 4) for model, value in self.plan.pressure.items()},
        }


async def decide(
    request: Request,
    snapshot: Snapshot,
    conversation: Conversation,
    body: Mapping[str, Any],
    dial: float,
    deadline: float,
) -> PlannedDecision:
    """The decision on a conversation. RouterError if there is none, or none before `deadline`."""
    state: GatewayState = request.app.state.gateway
    settings, key = snapshot.settings, key_id(request)
    demanded = demands(conversation, snapshot.pool)
    text = conversation.query()
    top = min(len(snapshot.pool.candidates), MOST_ALTERNATIVES)
    routing = state.engine.route(
        text, client=key, pool=snapshot.pool, dial=dial, guard=settings.guard, top=top, **demanded
    )
    decision = await by_deadline(routing, deadline)
    session = state.sessions.key(request.headers, body, key or "")
    available = snapshot.upstreams.available() if snapshot.forwards else set(snapshot.pool.ids)
    pressure, kept = snapshot.upstreams.pressure(), kept_upstream(body)
    plan = make_plan(decision, pressure, settings.load_weight, available, state.sessions, session, kept)
    return PlannedDecision(new_decision_id(), decision, plan, session, text)


async def by_deadline(work: Awaitable[T], deadline: float) -> T:
    """The result of `work`. At `deadline`, a time of `time.monotonic`, it is cancelled and RequestError raised."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await work
    except TimeoutError:
        raise RequestError(
            "decision_timeout",
            "no decision within serve.deadline_s of the request's arrival: ask again later, or fewer queries at a time",
            retry_after(1),
        ) from None


def note_decision(request: Request, decision_id: str, chosen: Alternative, dial: float) -> None:
    """Store a decision's fields for the log line of its request."""
    request.scope["router.decided"] = {
        "decision": decision_id,
        "model": chosen.model,
        "dial": dial,
        "quality": round(chosen.quality, 4),
        "cost_usd": round(chosen.cost_usd, 8),
    }


def check_log(state: GatewayState) -> None:
    """Raise 503 if the decision log is full and requests are refused then."""
    if state.log is not None and state.log.full:
        message = "the decision log is full, and the server refuses requests then"
        raise RequestError("log_full", message, retry_after(60))


def log_decision(request: Request, planned: PlannedDecision) -> None:
    """Count the decision in the metrics, and write it into the decision log if there is one."""
    state: GatewayState = request.app.state.gateway
    first = planned.plan.order[0]
    state.metrics.decided(first.model, first.cost_usd, always_best(planned.decision.alternatives).cost_usd)
    if state.log is not None:
        state.log.put(
            DecisionRow(
                decision_id=planned.id,
                time_s=time.time(),
                route=planned.to_json(),
                model=first.model,
                quality=first.quality,
                cost_usd=first.cost_usd,
                prompt=planned.text,
                session=planned.session,
                key_id=key_id(request),
            )
        )


def finish_decision(request: Request, planned: PlannedDecision, started: float) -> None:
    """Log a decision on one query, also for the log line of its request, and the time since `started`."""
    log_decision(request, planned)
    note_decision(request, planned.id, planned.plan.order[0], planned.decision.dial)
    request.app.state.gateway.metrics.overhead(time.monotonic() - started)
