"""One answer for one request: upstreams asked in the order of a plan until one answers, within deadline and budget.

A request whose answer has begun is never sent again. Knows outcomes, not HTTP; what each attempt came to goes to the
caller's `note`, whether the request succeeds or not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from router.policy.decision import Alternative
from router.serving.dispatch.plan import Plan
from router.serving.protocol.errors import RequestError, retry_after
from router.serving.settings import ServeSettings
from router.serving.upstreams.breaker import CLOSED, OPEN
from router.serving.upstreams.client import Answer, Target, Upstreams
from router.serving.upstreams.outcomes import LEFT, REFUSED, Outcome

LOOK_AGAIN_S = 0.25
LEAST_ATTEMPT_S = 0.05  # of the deadline that an attempt is worth beginning for


class RetryBudget:
    """Attempts after failures that all requests together may make: a share of them, and `burst` at once.

    Keeps a pool that fails as a whole from being asked several times as often. A model that is well but cannot take a
    request (too long for it, filtered) costs none.
    """

    def __init__(self, share: float, burst: int) -> None:
        self.share, self.burst, self._left = share, burst, float(burst)

    def request(self) -> None:
        """A request came in."""
        self._left = min(self._left + self.share, float(self.burst))

    def take(self) -> bool:
        """Whether one more attempt may be made; if so it is counted."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(frozen=True)
class Attempt:
    """What became of one attempt."""

    number: int  # from 1
    model: str
    outcome: Outcome
    latency_s: float


@dataclass(frozen=True)
class Answered:
    """The answer that the client gets, and whose it is."""

    chosen: Alternative
    target: Target
    answer: Answer
    attempts: int


Send = Callable[[Target, float], Awaitable[Answer]]  # to a target, within so many seconds


async def forward(
    plan: Plan,
    upstreams: Upstreams,
    settings: ServeSettings,
    budget: RetryBudget,
    send: Send,
    note: Callable[[Attempt], None],
    deadline: float,
) -> Answered:
    """The first answer that is one, or the client's own error. RequestError where no upstream gives any.

    `deadline` is a time of `time.monotonic`. What a client should see of a request that no model takes (too long for
    all, filtered by all) is the last upstream's own words.
    """
    budget.request()
    order, last = list(plan.order), None
    tried: list[str] = []
    failed: list[Attempt] = []
    while len(failed) < settings.attempts:
        if failed and failed[-1].outcome.against_breaker and not budget.take():
            break
        chosen = await _next(order, tried, upstreams, deadline)
        if chosen is None:
            break
        target = upstreams.targets[chosen.model]
        attempt, answer = await _attempt(target, len(failed) + 1, deadline, send, note)
        if attempt.outcome.kind in ("answered", REFUSED):
            return Answered(chosen, target, answer, attempt.number)
        failed.append(attempt)
        tried.append(chosen.model)
        last = Answered(chosen, target, answer, attempt.number)
        if not attempt.outcome.falls_back(target.upstream.retry_after_send):
            break
        if attempt.outcome.kind == "context_length":
            windows = {name: each.candidate.facts.context_window for name, each in upstreams.targets.items()}
            order = [each for each in plan.after(chosen.model, windows) if each.model not in tried]
    if last is not None and {each.outcome.kind for each in failed} <= {"context_length", "content_filter"}:
        return last
    raise _failure(failed, upstreams)


async def _attempt(
    target: Target, number: int, deadline: float, send: Send, note: Callable[[Attempt], None]
) -> tuple[Attempt, Answer]:
    attempt = Attempt(number, target.id, Outcome(LEFT), 0.0)
    started = time.monotonic()
    try:
        answer = await send(target, max(deadline - started, LEAST_ATTEMPT_S))
        attempt = Attempt(number, target.id, answer.outcome, answer.latency_s)
        return attempt, answer
    finally:
        note(attempt)


async def _next(
    order: list[Alternative], tried: list[str], upstreams: Upstreams, deadline: float
) -> Alternative | None:
    """Whom to ask now, perhaps after a wait for a breaker; None where nobody can be asked before the deadline.

    Those not asked yet come first; one that was may be asked again only once its breaker lets it. While another request
    probes an upstream, this one looks again every `LOOK_AGAIN_S`.
    """
    breakers = {name: target.breaker for name, target in upstreams.targets.items()}
    while True:
        troubled = [each for each in order if breakers[each.model].state != CLOSED]
        for each in [*(each for each in order if each.model not in tried), *troubled]:
            if breakers[each.model].admits():
                return each
        if not troubled:
            return None
        waits = [breakers[each.model].wait_s for each in troubled if breakers[each.model].state == OPEN]
        probed = [LOOK_AGAIN_S] * (len(troubled) - len(waits))
        wait = max(min([*waits, *probed]), LEAST_ATTEMPT_S)
        if time.monotonic() + wait + LEAST_ATTEMPT_S > deadline:
            return None
        await asyncio.sleep(wait)


def _failure(failed: list[Attempt], upstreams: Upstreams) -> RequestError:
    """What the client is told when nobody answered: who was asked and what came of it, not in whose words."""
    waits = [target.breaker.wait_s for target in upstreams.targets.values()]
    again = retry_after(min(waits)) if waits and min(waits) > 0 else {}
    if not failed:
        return RequestError("upstream_failed", "no model of the pool can be asked at present: try again later", again)
    told = ", ".join(f"{each.model} {each.outcome.kind.replace('_', ' ')}" for each in failed)
    message = f"no model answered: {told}"
    kinds = {each.outcome.kind for each in failed}
    if kinds == {"rate_limited"}:
        return RequestError("upstream_rate_limited", message, again or retry_after(1))
    if kinds == {"timeout"}:
        return RequestError("upstream_timeout", message, again)
    return RequestError("upstream_failed", message, again)
