"""Dispatch plan of one request: the order in which models are tried, from decision, load and session.

Also the demands of a request on its model. Pure, except that the session remembers its choice. This module knows no
upstream: load and the set of available models are arguments.
"""

import glob
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.errors import NoCandidateError
from router.policy.decision import Alternative, Decision
from router.pools.pool import Candidate, Pool
from router.serving.dispatch.sessions import Sessions
from router.serving.protocol.conversation import Conversation


def demands(conversation: Conversation, pool: Pool) -> dict[str, Any]:
    """Demands of `conversation` on the models of `pool`, as keyword arguments of `Router.route`.

    The context length is rounded up to the next window in the pool, which admits the same models. So requests that
    differ only in length can be routed together. NoCandidateError if the pool's facts leave no model.
    """
    gone: dict[str, list[str]] = {}
    for candidate in pool.candidates:
        if reason := _unfit(candidate, conversation):
            gone.setdefault(reason, []).append(candidate.id)
    if sum(map(len, gone.values())) == len(pool.candidates):
        parts = [f"{reason} removed {', '.join(ids[:10])}" for reason, ids in gone.items()]
        raise NoCandidateError(f"no model is left: {'; '.join(parts)}")
    windows = sorted({each.facts.context_window for each in pool.candidates if each.facts.context_window})
    return {
        "tools": conversation.tools,
        "images": "image" in conversation.modalities,
        "context_tokens": _rounded_up(conversation.context_tokens, windows),
        "deny": tuple(glob.escape(each) for ids in gone.values() for each in ids),
    }


def _rounded_up(tokens: int, windows: Sequence[int]) -> int:
    """The smallest of the sorted `windows` that holds `tokens`; 0 if every window holds them.

    >>> [_rounded_up(tokens, [100, 1000]) for tokens in (50, 101, 1001)], _rounded_up(50, [])
    ([0, 1000, 1001], 0)
    """
    if not windows or tokens <= windows[0]:
        return 0
    return next((window for window in windows if window >= tokens), tokens)


def _unfit(candidate: Candidate, conversation: Conversation) -> str:
    """Why a model cannot answer, beyond the constraints that the router checks; empty if it can."""
    upstream = candidate.upstream
    if conversation.json_schema and upstream and not upstream.json_schema:
        return "a JSON schema (upstream.json_schema: true says who can)"
    limit = upstream.max_output_tokens if upstream else None
    if limit is not None and (conversation.max_output_tokens or 0) > limit:
        return f"an answer of {conversation.max_output_tokens} tokens"
    missing = conversation.modalities - {"image"} - set(candidate.facts.modalities)
    return f"input of {', '.join(sorted(missing))}" if missing else ""


@dataclass(frozen=True)
class Plan:
    """The order in which models are tried, and the reason for the first."""

    order: tuple[Alternative, ...]
    reason: str
    pressure: Mapping[str, float]  # load from 0 to 1, of the models where it counts

    def after(self, model: str, windows: Mapping[str, int | None]) -> tuple[Alternative, ...]:
        """The order without models whose context window is no wider than that of `model`, which was too narrow."""
        narrow = windows.get(model)
        if narrow is None:
            return self.order
        return tuple(each for each in self.order if (windows.get(each.model) or math.inf) > narrow)


def make_plan(
    decision: Decision,
    pressure: Mapping[str, float],
    weight: float,
    available: Collection[str],
    sessions: Sessions | None,
    session: str | None,
    kept_upstream: bool = False,
) -> Plan:
    """The plan for a request whose candidates are the decision's alternatives.

    `pressure` is the load of each model from 0 to 1, `weight` the most utility that load takes, `available` the models
    whose upstreams admit requests now. If none is available, all count as available.
    """
    utility = {
        each.model: loaded_utility(each.utility, each.cost_usd, pressure.get(each.model, 0.0), weight, decision.dial)
        for each in decision.alternatives
    }
    order = sorted(decision.alternatives, key=lambda each: -utility[each.model])  # stable: ties keep the router's order
    possible = [each.model for each in order if each.model in available] or [each.model for each in order]
    first, reason = possible[0], "the best of this request"
    if sessions is not None and session is not None:
        choice = sessions.choose(
            session, _comparable(utility, decision), possible, dial=decision.dial, kept_upstream=kept_upstream
        )
        first, reason = choice.model, choice.reason
    if first != decision.model and first == possible[0]:
        why = "is not available" if decision.model not in possible else "is under load"
        reason = f"{decision.model} {why}; {reason}"
    ordered = [each for each in order if each.model == first] + [each for each in order if each.model != first]
    return Plan(tuple(ordered), reason, {model: p for model, p in pressure.items() if p >= 0.001})


def loaded_utility(utility: float, cost_usd: float, pressure: float, weight: float, dial: float) -> float:
    """A candidate's utility minus the loss by load, at most `weight`; at dial 10, in USD, load makes it dearer.

    >>> loaded_utility(0.75, 0.01, 0.5, 0.2, 3.0), loaded_utility(-0.01, 0.01, 0.5, 0.2, 10.0)
    (0.65, -0.011)
    """
    return utility - (cost_usd * pressure * weight if dial >= 10 else pressure * weight)


def _comparable(utility: Mapping[str, float], decision: Decision) -> dict[str, float]:
    """Utilities in units of quality; at dial 10, where utility is minus USD, in multiples of the least cost."""
    if decision.dial < 10:
        return dict(utility)
    least = max(min((each.cost_usd for each in decision.alternatives), default=0.0), 1e-12)
    return {model: value / least for model, value in utility.items()}


def always_best(alternatives: Sequence[Alternative]) -> Alternative:
    """The alternative of the greatest predicted quality, the cheapest of equal ones."""
    return max(alternatives, key=lambda each: (each.quality, -each.cost_usd))
