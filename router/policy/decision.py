"""Decision: the chosen model, its alternatives, what the query needs, and the reasons.

Plain data with its JSON and text forms; `router.policy.explanation` fills it. Nothing here chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, overload

if TYPE_CHECKING:
    from router.policy.goals import Goal

GOALS = ("budget_usd_per_1k", "quality_at_least")  # of a request, in place of a dial; a list meets one as a whole
SCHEMA_VERSION = 1
SHOWN = 0.05  # weight of a capability or domain from which a decision names it
LEVEL_WORDS = ("trivial", "easy", "medium", "hard", "very hard")  # of the levels 1 to 5


@dataclass(frozen=True)
class Alternative:
    """One candidate with its predicted quality, cost and utility."""

    model: str
    quality: float  # probability in [0, 1] of a good answer
    cost_usd: float  # expected, of this query
    utility: float  # quality - weight x cost; at dial 10 minus the cost in USD
    prior: bool  # True: no profile of its own, judged by the prior of its price class


class Contribution(NamedTuple):
    """The share of one named axis in the winner's lead."""

    axis: str
    kind: str  # capability, knowledge or difficulty
    logit: float


class Contributions(Sequence[Contribution]):
    """The contributions of all named axes, greatest absolute share first.

    Sorted at the first read: most explanations are never read.
    """

    def __init__(self, axes: Sequence[tuple[str, str]], shares: Sequence[float]) -> None:
        """Name and kind of each axis, and its share in logits, in the same order."""
        self._axes, self._shares = axes, shares

    @cached_property
    def _sorted(self) -> tuple[Contribution, ...]:
        return self.at_least(0.0)

    def at_least(self, logit: float) -> tuple[Contribution, ...]:
        """The contributions whose absolute share is at least `logit`, greatest first."""
        pairs = zip(self._axes, self._shares, strict=True)
        found = [Contribution(*axis, share) for axis, share in pairs if abs(share) >= logit]
        return tuple(sorted(found, key=lambda each: -abs(each.logit)))

    @overload
    def __getitem__(self, index: int) -> Contribution: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Contribution, ...]: ...

    def __getitem__(self, index: int | slice) -> Contribution | tuple[Contribution, ...]:
        return self._sorted[index]

    def __len__(self) -> int:
        return len(self._shares)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._sorted == tuple(other)

    def __hash__(self) -> int:
        return hash(self._sorted)

    def __repr__(self) -> str:
        return repr(self._sorted)


@dataclass(frozen=True)
class Reasons:
    """Why the chosen model is ahead of the runner-up.

    `sum(axes) + bias + other + prototypes == lead_logit` and `quality_term + cost_term == lead_utility`, up to float
    rounding.
    """

    runner_up: str
    lead_logit: float
    axes: Contributions  # greatest absolute share first
    bias: float
    other: float  # the latent residual's share
    prototypes: float  # the share of what the models did on similar queries
    lead_utility: float
    quality_term: float
    cost_term: float

    def lines(self, top: int = 4) -> list[str]:
        """The reasons for a person, `top` axes of them."""
        shown = [f"{c.axis} {c.logit:+.2f}" for c in self.axes[:top]]
        rest = sum(c.logit for c in self.axes[top:])
        parts = [*shown, f"further axes {rest:+.2f}", f"general strength {self.bias:+.2f}"]
        if self.other:
            parts.append(f"other {self.other:+.2f}")
        if self.prototypes:
            parts.append(f"similar queries {self.prototypes:+.2f}")
        return [
            f"ahead of {self.runner_up} by {self.lead_utility:+.4f} utility: "
            f"quality {self.quality_term:+.4f}, cost {self.cost_term:+.4f}",
            f"quality logit {self.lead_logit:+.2f}: " + ", ".join(parts),
        ]


@dataclass(frozen=True)
class Decision:
    """The route of one query."""

    query: str
    model: str
    pool: str
    dial: float
    quality: float
    cost_usd: float
    utility: float
    prior: bool
    alternatives: tuple[Alternative, ...]  # by utility, the chosen one first
    capabilities: dict[str, float]  # strongest first
    domains: dict[str, float]  # strongest first, those of note
    difficulty: float  # logits, under the chosen model's protocol
    level: float  # difficulty on the scale of annotations, 1 to 5
    familiarity: float  # in (0, 1], nearness to training queries with answers
    reasons: Reasons | None  # None where there was one candidate only
    goal: Goal | None = None  # the budget or quality asked for; `dial` is then the one that its cost weight amounts to
    price_date: str | None = None  # of the chosen model's prices, an ISO day or month; None: not stated
    flagged: str | None = None  # the end of the query that the guard left out, where it did

    @property
    def level_word(self) -> str:
        """The level in a word."""
        return LEVEL_WORDS[int(self.level - 0.5)]

    def of(self, query: str) -> Decision:
        """The same decision on `query`, with its own copies of the dictionaries, so that callers can change them."""
        return replace(self, query=query, capabilities=dict(self.capabilities), domains=dict(self.domains))

    def to_json(self, least_logit: float = 0.0) -> dict[str, Any]:
        """A JSON object; of the query, which the caller has, it holds only what was flagged.

        Of the axes those whose share of the lead is at least `least_logit`, up or down. The object is the caller's own.
        """
        raw: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "pool": self.pool,
            "dial": self.dial,
            "quality": self.quality,
            "cost_usd": self.cost_usd,
            "utility": self.utility,
            "prior": self.prior,
            "alternatives": [dict(vars(a)) for a in self.alternatives],
            "capabilities": dict(self.capabilities),
            "domains": dict(self.domains),
            "difficulty": self.difficulty,
            "level": round(self.level, 2),
            "level_word": self.level_word,
            "familiarity": self.familiarity,
            "goal": None if self.goal is None else dict(vars(self.goal)),
            "reasons": None,
            "price_date": self.price_date,
            "flagged": self.flagged,
        }
        if self.reasons is not None:
            kept = self.reasons.axes.at_least(least_logit)
            raw["reasons"] = {**vars(self.reasons), "axes": [each._asdict() for each in kept]}
        return raw


def strongest(names: Sequence[str], weights: Sequence[float], least: float = SHOWN) -> dict[str, float]:
    """Names and weights of at least `least`, greatest first; at least the greatest one.

    >>> strongest(["a", "b", "c"], [0.01, 0.29, 0.7])
    {'c': 0.7, 'b': 0.29}
    """
    most = min(least, max(weights))
    noted = [(name, weight) for name, weight in zip(names, weights, strict=True) if weight >= most]
    noted.sort(key=lambda pair: -pair[1])
    return dict(noted if weights and noted[0][1] >= least else noted[:1])
