"""Constraints and ranking: which candidates may answer, and their order by quality and cost.

Constraints look at facts and names only, `rank` at numbers only. Axes: B queries, M candidates, k results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, first, like, namespace
from router.errors import NoCandidateError, UsageError, counted_from, known_names, quoted
from router.network import scoring
from router.options import DIAL_MAX
from router.pools.models import ModelFacts, context_windows

SHOWN = 10  # names in a message


@dataclass(frozen=True)
class Constraints:
    """The demands of a request on a model. An unknown fact meets no demand; an unknown window counts as unlimited."""

    allow: tuple[str, ...] = ()  # names or wildcards; empty allows all
    deny: tuple[str, ...] = ()
    tools: bool = False
    images: bool = False
    context_tokens: int | None = None  # prompt and answer; None: the query's own estimate
    max_price_usd_per_mtok: float | None = None  # of input and of output

    def __post_init__(self) -> None:
        for flag, value in (("context_tokens", self.context_tokens), ("max_price", self.max_price_usd_per_mtok)):
            if value is not None and not value >= 0:
                raise UsageError(f"{flag} must be a number of at least 0, got {value!r}")

    def admit(
        self,
        models: Sequence[ModelFacts],
        needed_tokens: Sequence[float],
        windows: NDArray[np.float64] | None = None,
        pool: str = "",
    ) -> NDArray[np.bool_]:
        """Mask (B, M) of the models that may answer queries that need (B,) tokens of context.

        `windows` are the models' `context_windows`, where they are known already, `pool` their pool's name.
        Raises NoCandidateError for a query without an admitted model; it names the models that each constraint removed.
        """
        if isinstance(self.allow, str) or isinstance(self.deny, str):
            raise UsageError("allow and deny take lists of names or wildcards, got a single string")
        checks = self._checks(models)
        needed = np.asarray(needed_tokens, np.float64)
        if self.context_tokens is not None:
            needed = np.full_like(needed, self.context_tokens)
        windows = context_windows(models) if windows is None else windows
        too_long = needed[:, None] > windows
        mask = ~too_long
        for _, keep in checks:
            mask &= keep
        empty = np.flatnonzero(~mask.any(axis=1))
        if len(empty):
            row = int(empty[0])
            self._check_allowed(models, pool)
            removed = {name: ~keep for name, keep in checks} | {"context window": too_long[row]}
            with counted_from(row):
                raise NoCandidateError(_who_removed_whom(removed, models, needed[row]))
        return mask

    def _check_allowed(self, models: Sequence[ModelFacts], pool: str) -> None:
        """NoCandidateError where no model has an allowed name: it is then no matter of constraints, but of names."""
        ids = [model.id for model in models]
        if self.allow and not any(matches(name, self.allow) for name in ids):
            shown = " or ".join(map(quoted, self.allow[:SHOWN])) + (" ..." if len(self.allow) > SHOWN else "")
            where = f"pool {pool}" if pool else "the pool"
            raise NoCandidateError(f"no model of {where} matches {shown}; {known_names(self.allow[0], ids)}")

    def admit_facts(self, models: Sequence[ModelFacts]) -> NDArray[np.bool_]:
        """Mask (M,) of the models that meet every demand but that of a context window, which is each query's own."""
        return np.all([np.ones(len(models), bool), *(keep for _, keep in self._checks(models))], axis=0)

    def _checks(self, models: Sequence[ModelFacts]) -> list[tuple[str, NDArray[np.bool_]]]:
        checks: list[tuple[str, list[bool]]] = []
        if self.allow:
            checks.append(("allow " + ", ".join(self.allow), [matches(m.id, self.allow) for m in models]))
        if self.deny:
            checks.append(("deny " + ", ".join(self.deny), [not matches(m.id, self.deny) for m in models]))
        if self.tools:
            checks.append(("tools", [m.tools is True for m in models]))
        if self.images:
            checks.append(("images", ["image" in m.modalities for m in models]))
        limit = self.max_price_usd_per_mtok
        if limit is not None:
            prices = [(m.input_usd_per_mtok, m.output_usd_per_mtok) for m in models]
            cheap = [all(price is None or price <= limit for price in both) for both in prices]
            checks.append((f"maximum price {limit:g} USD/Mtok", cheap))
        return [(name, np.array(keep, bool)) for name, keep in checks]


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the names or wildcards matches, in any case."""
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _who_removed_whom(removed: dict[str, NDArray[np.bool_]], models: Sequence[ModelFacts], needed: float) -> str:
    parts = []
    for name, gone in removed.items():
        ids = [models[column].id for column in np.flatnonzero(gone).tolist()]
        if ids:
            label = f"{name} (the query needs {needed:.0f} tokens)" if name == "context window" else name
            more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
            parts.append(f"{label} removed {', '.join(ids[:SHOWN])}{more}")
    return "no model is left: " + "; ".join(parts) + ". Relax a constraint or route to another pool."


def cost_weights(
    dial: float | Sequence[float], batch: int, cost_range_usd: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dials (B,) checked, and what one US dollar is worth in quality at each (B,).

    Raises UsageError for a dial outside [0, 10] or a wrong number of dials.
    """
    if isinstance(dial, int | float):
        return np.full(batch, float(dial)), np.full(batch, _weight_of_one(float(dial), cost_range_usd))
    try:
        dials = np.ravel(np.asarray(dial, np.float64))
    except (TypeError, ValueError) as error:
        raise UsageError(f"dial must be a number from 0 to 10, or one per query; got {dial!r}") from error
    if len(dials) == 1:
        dials = np.full(batch, dials)
    if len(dials) != batch:
        raise UsageError(f"got {len(dials)} dials for {batch} queries: give one number, or one per query")
    return dials, _weights(dials, cost_range_usd)


@lru_cache
def _weight_of_one(dial: float, cost_range_usd: float) -> float:
    """`_weights` of one dial: most requests ask for the same."""
    return _weights(np.array([dial]), cost_range_usd).item()


def _weights(dials: NDArray[np.float64], cost_range_usd: float) -> NDArray[np.float64]:
    wrong = dials[~((dials >= 0) & (dials <= DIAL_MAX))].tolist()
    if wrong:
        raise UsageError(f"dial must lie in 0 (quality at any price) to 10 (least predicted cost), got {wrong[0]!r}")
    return scoring.cost_weight(dials, cost_range_usd)


def rank(quality: Array, cost: Array, weight: Array, admitted: Array, k: int) -> tuple[Array, Array]:
    """Utilities (B, M) in double precision and the k best admitted candidates (B, k) by it.

    `weight` (B,) and `admitted` (B, M) may be numpy's where quality and cost are tensors. Equal utilities go to the
    cheaper candidate, of equal cost to the better.

    >>> quality, cost = np.array([[0.9, 0.9, 0.1]]), np.array([[2.0, 1.0, 0.0]])
    >>> rank(quality, cost, np.array([0.0]), np.ones((1, 3), bool), 2)[1].tolist()
    [[1, 0]]
    >>> rank(quality, np.zeros((1, 3)), np.array([np.inf]), np.ones((1, 3), bool), 1)[1].tolist()
    [[0]]
    """
    xp = namespace(quality)
    quality, cost = xp.astype(quality, xp.float64), xp.astype(cost, xp.float64)
    admitted = like(admitted, quality, dtype=xp.bool)
    value = scoring.utility(quality, cost, like(weight, quality))
    return value, first([-quality, cost, xp.where(admitted, -value, xp.inf)], k)
