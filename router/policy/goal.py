"""What a request may want in place of a dial: a budget, or a quality. Met by validation's dial or exactly for a batch.

Chooses the means only; the means are `router.policy.goals` and `router.policy.budget`. Axes: B queries, M candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, host
from router.errors import UsageError
from router.policy.budget import Assignment, best_within, cheapest_reaching
from router.policy.goals import DialPoint, DialTable

BATCH, VALIDATION = "batch", "validation"


@dataclass(frozen=True)
class Goal:
    """Exactly one of the first two is given; a decision's own says how it was met."""

    budget_usd_per_1k: float | None = None  # greatest mean predicted cost, USD per 1,000 queries
    quality_at_least: float | None = None  # least mean predicted quality, in [0, 1]
    met_on: str = BATCH  # by the predictions for the queries routed together; VALIDATION: by the dial that met it there
    cost_weight: float | None = None  # quality per USD that the decision was made at; None: infinite, or not yet known

    @classmethod
    def read(cls, dial: object, budget_usd_per_1k: float | None, quality_at_least: float | None) -> Goal | None:
        """The goal of a request, None for one by its dial; UsageError where more than one of the three is given."""
        given = {"dial": dial, "budget_usd_per_1k": budget_usd_per_1k, "quality_at_least": quality_at_least}
        names = [name for name, value in given.items() if value is not None]
        if len(names) > 1:
            raise UsageError(f"got {' and '.join(names)}: give one of dial, budget and quality, the others follow")
        if names in ([], ["dial"]):
            return None
        name, value = names[0], given[names[0]]
        most, limits = (1.0, "from 0 to 1") if quality_at_least is not None else (math.inf, "of at least 0")
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= most:
            raise UsageError(f"{name} must be a number {limits}, got {value!r}")
        return cls(budget_usd_per_1k, quality_at_least)

    def __str__(self) -> str:
        if self.budget_usd_per_1k is not None:
            return f"at most ${self.budget_usd_per_1k:g} per 1,000 queries"
        return f"a quality of at least {self.quality_at_least:g}"

    def point(self, table: DialTable) -> DialPoint:
        """The dial that met the goal on validation; UsageError where none did."""
        if self.budget_usd_per_1k is not None:
            return table.within(self.budget_usd_per_1k)
        assert self.quality_at_least is not None
        return table.reaching(self.quality_at_least)

    def assign(self, quality: Array, cost_usd: Array, admitted: NDArray[np.bool_]) -> Assignment:
        """The choice for predictions (B, M) that meets the goal exactly; UsageError where none does."""
        predicted = host(quality).astype(np.float64), host(cost_usd).astype(np.float64)
        if self.budget_usd_per_1k is not None:
            return best_within(*predicted, admitted, self.budget_usd_per_1k)
        assert self.quality_at_least is not None
        return cheapest_reaching(*predicted, admitted, self.quality_at_least)

    def met_at(self, cost_weight: float) -> Goal:
        """The same as a decision tells it that was made at `cost_weight`."""
        return replace(self, cost_weight=cost_weight if np.isfinite(cost_weight) else None)
