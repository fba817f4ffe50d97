"""From a request to a decision: who may answer it, what the router says, what load and session make of that.

The one way to a decision for the gateway and for `/v1/route`; writes it into the log. Sends nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from router.policy.decision import Decision
from router.serving.dispatch.plan import Plan, always_best, demands, make_plan
from router.serving.dispatch.session_keys import kept_upstream
from router.serving.protocol.conversation import Conversation
from router.serving.protocol.errors import RequestError, retry_after
from router.serving.service import MOST_ALTERNATIVES, Service, Setup, new_decision_id, now
from router.serving.telemetry.log_rows import DecisionRow

T = TypeVar("T")
LEAST_LOGIT = 0.001  # of an axis' share in the reasons that are told: without the rest it is an eighth as long


@dataclass(frozen=True)
class Decided:
    """A decision with its name, the order in which models are asked, and what it was made from."""

    id: str
    decision: Decision
    plan: Plan
    session: str | None
    text: str

    def to_json(self) -> dict[str, Any]:
        """The whole decision: the router's, and what load and session made of it."""
        first = self.plan.order[0]
        raw = self.decision.to_json(LEAST_LOGIT)
        return raw | {
            "model": first.model,
            "quality": first.quality,
            "cost_usd": first.cost_usd,
            "utility": first.utility,
            "prior": first.prior,
            "routed_model": self.decision.model,  # by the router, before load and session
            "order": [each.model for each in self.plan.order],
            "why": self.plan.reason,
            "pressure": {model: round(value, 4) for model, value in self.plan.pressure.items()},
        }


async def decide(
    service: Service,
    setup: Setup,
    conversation: Conversation,
    dial: float,
    headers: Mapping[str, str],
    body: Mapping[str, Any],
    key_id: str | None,
    deadline: float,
) -> Decided:
    """The decision on a conversation. RouterError where it cannot be made, or not before `deadline`."""
    wanted = demands(conversation, setup.pool)
    text = conversation.query(setup.head_chars)
    top = min(len(setup.pool.candidates), MOST_ALTERNATIVES)
    asked = service.engine.route(
        text, client=key_id, pool=setup.pool, dial=dial, guard=setup.settings.guard, top=top, **wanted.options()
    )
    decision = await by_deadline(asked, deadline)
    session = service.sessions.key(headers, body, key_id or "")
    plan = make_plan(
        decision,
        setup.upstreams.pressure(),
        setup.settings.load_weight,
        setup.upstreams.available() if setup.forwards else set(setup.pool.ids),
        service.sessions,
        session,
        kept_upstream(body),
    )
    return Decided(new_decision_id(), decision, plan, session, text)


async def by_deadline(work: Awaitable[T], deadline: float) -> T:
    """The result of `work`; given up and RequestError at `deadline`, a time of `time.monotonic`."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await work
    except TimeoutError:
        raise RequestError(
            "decision_timeout",
            "no decision within serve.deadline_s of the request's arrival: ask again later, or fewer queries at a time",
            retry_after(1),
        ) from None


def log_decision(service: Service, decided: Decided, key_id: str | None) -> None:
    """Count the decision, and log it where a log is kept."""
    first = decided.plan.order[0]
    service.metrics.decided(first.model, first.cost_usd, always_best(decided.decision.alternatives).cost_usd)
    if service.log is None:
        return
    service.log.decided(
        DecisionRow(
            id=decided.id,
            time_s=now(),
            route=decided.to_json(),
            model=first.model,
            quality=first.quality,
            cost_usd=first.cost_usd,
            prompt=decided.text,
            session=decided.session,
            key_id=key_id,
        )
    )
