"""Failover: upstreams are tried in the order of a plan until one answers, within a deadline and a retry budget.

A request whose response has begun is never sent again. This module knows outcomes, not HTTP. It reports each attempt
to the caller's `note`, whether the request succeeds or not.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from router.policy.decision import Alternative
from router.serving.dispatch.plan import Plan
from router.serving.protocol.errors import RequestError, retry_after
from router.serving.settings import ServeSettings
from router.serving.upstreams.breaker import CLOSED, OPEN
from router.serving.upstreams.client import Target, UpstreamResponse, Upstreams
from router.serving.upstreams.outcomes import ANSWERED, LEFT, REFUSED, Outcome

LOOK_AGAIN_S = 0.25  # while another request probes an upstream
LEAST_ATTEMPT_S = 0.05  # with less time before the deadline no attempt begins


class RetryBudget:
    """Retries that all requests together may make: a share of the requests, and `burst` at once.

    Without it a pool that fails as a whole would get several times as many requests. A retry because a healthy model
    cannot take the request (too long, filtered) is free.
    """

    def __init__(self, share: float, burst: int) -> None:
        self.share, self.burst, self._left = share, burst, float(burst)

    def request(self) -> None:
        """Count a request, which earns a share of a retry."""
        self._left = min(self._left + self.share, float(self.burst))

    def take(self) -> bool:
        """Whether one more retry is allowed; if so it is counted."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(frozen=True)
class Attempt:
    """One attempt and its outcome."""

    number: int  # from 1
    model: str
    outcome: Outcome
    latency_s: float


@dataclass(frozen=True)
class ForwardedResponse:
    """The response for the client, and the model that gave it."""

    chosen: Alternative
    target: Target
    response: UpstreamResponse
    attempts: int


Send = Callable[[Target, float], Awaitable[UpstreamResponse]]  # arguments: target, seconds


async def forward(
    plan: Plan,
    upstreams: Upstreams,
    settings: ServeSettings,
    budget: RetryBudget,
    send: Send,
    note: Callable[[Attempt], None],
    deadline: float,
) -> ForwardedResponse:
    """The first response that answers or that blames the request. RequestError if there is none.

    `deadline` is a time of `time.monotonic`. If every model finds the request too long, or filters it, the client gets
    the response of the last upstream.
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
        attempt = Attempt(len(failed) + 1, target.id, Outcome(LEFT), 0.0)
        try:
            response = await send(target, max(deadline - time.monotonic(), LEAST_ATTEMPT_S))
            attempt = replace(attempt, outcome=response.outcome, latency_s=response.latency_s)
        finally:
            note(attempt)
        if attempt.outcome.kind in (ANSWERED, REFUSED):
            return ForwardedResponse(chosen, target, response, attempt.number)
        failed.append(attempt)
        tried.append(chosen.model)
        last = ForwardedResponse(chosen, target, response, attempt.number)
        if not attempt.outcome.falls_back(target.upstream.retry_after_send):
            break
        if attempt.outcome.kind == "context_length":
            windows = {name: each.candidate.facts.context_window for name, each in upstreams.targets.items()}
            order = [each for each in plan.after(chosen.model, windows) if each.model not in tried]
    if last is not None and {each.outcome.kind for each in failed} <= {"context_length", "content_filter"}:
        return last
    raise _failure(failed, upstreams)


async def _next(
    order: list[Alternative], tried: list[str], upstreams: Upstreams, deadline: float
) -> Alternative | None:
    """The model to try now, perhaps after a wait for a breaker; None if no model can be tried before the deadline.

    Untried models come first. A model whose breaker had opened may be tried again once its breaker admits it. While
    another request probes an upstream, this one looks again every `LOOK_AGAIN_S`.
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
    """The error for the client if no model answered: models and kinds of outcome, no words of an upstream."""
    waits = [target.breaker.wait_s for target in upstreams.targets.values()]
    again = retry_after(min(waits)) if waits and min(waits) > 0 else {}
    if not failed:
        return RequestError("upstream_failed", "no model of the pool can be asked at present: try again later", again)
    outcomes = ", ".join(f"{each.model} {each.outcome.kind.replace('_', ' ')}" for each in failed)
    message = f"no model answered: {outcomes}"
    kinds = {each.outcome.kind for each in failed}
    if kinds == {"rate_limited"}:
        return RequestError("upstream_rate_limited", message, again or retry_after(1))
    if kinds == {"timeout"}:
        return RequestError("upstream_timeout", message, again)
    return RequestError("upstream_failed", message, again)
