"""Goals instead of a dial: a budget or a minimum quality, for a batch or for one query.

A batch meets a goal exactly; one query gets a dial that met it on validation. A checkpoint holds one small table a pool
in `dials.json`: what each dial cost and gave on the validation fold, with these models, prices and cost range. Knows no
network. Axes: P dials, B queries, M candidates.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from router import arrays
from router.arrays import host
from router.errors import CheckpointError, PoolError, UsageError
from router.network import scoring
from router.options import DIAL_MAX
from router.policy.budget import Array, Assignment, best_within, cheapest_reaching, round_down, round_up
from router.pools.pool import Pool

DIALS: Array = np.arange(101) / 10  # 0 to DIAL_MAX
COLUMNS = ("dial", "cost_usd_per_1k", "quality", "score")
BATCH, VALIDATION = "batch", "validation"
NO_TABLE_NEEDED = "A list of queries (Python) or --input FILE needs none, nor does a dial"


@dataclass(frozen=True)
class DialPoint:
    """One dial, and the means over the validation queries that it routed."""

    dial: float
    cost_usd_per_1k: float  # predicted
    quality: float  # predicted
    score: float  # what the answers scored


@dataclass(frozen=True)
class DialTable:
    """Means over validation queries by dial, (P,) each: a greater dial has neither greater cost nor greater quality."""

    measured_with: str  # `fingerprint` of the pool
    queries: int
    dial: tuple[float, ...]
    cost_usd_per_1k: tuple[float, ...]
    quality: tuple[float, ...]
    score: tuple[float, ...]

    def within(self, budget_usd_per_1k: float) -> DialPoint:
        """The dial of greatest quality whose mean predicted cost is within the budget; UsageError where none is."""
        fits = [i for i, cost in enumerate(self.cost_usd_per_1k) if cost <= budget_usd_per_1k]
        if not fits:
            raise UsageError(
                f"got a budget of {budget_usd_per_1k:g} USD per 1,000 queries; on validation even dial "
                f"{self.dial[-1]:g} cost more: the least possible is {round_up(self.cost_usd_per_1k[-1])}"
            )
        return self._point(fits[0])

    def reaching(self, quality_at_least: float) -> DialPoint:
        """The dial of least cost whose mean predicted quality is at least the given one; UsageError where none is."""
        fits = [i for i, quality in enumerate(self.quality) if quality >= quality_at_least]
        if not fits:
            raise UsageError(
                f"got a quality of at least {quality_at_least:g}; on validation even dial {self.dial[0]:g} was "
                f"predicted to give less: the greatest possible is {round_down(self.quality[0])}"
            )
        return self._point(fits[-1])

    def _point(self, i: int) -> DialPoint:
        return DialPoint(self.dial[i], self.cost_usd_per_1k[i], self.quality[i], self.score[i])


def dial_choices(quality: Array, cost: Array, cost_range_usd: float) -> NDArray[np.intp]:
    """The candidate (P, B) that each of DIALS chooses by predictions (B, M), as `router.policy.constraints.rank` does.

    >>> dial_choices(np.array([[0.9, 0.5]]), np.array([[0.02, 0.01]]), 0.01)[[0, 60, 100]].ravel().tolist()
    [0, 1, 1]
    """
    by_cost = np.lexsort((-quality, cost), axis=1)  # of equal utilities the cheaper one, of equal costs the better
    quality, cost = np.take_along_axis(quality, by_cost, axis=1), np.take_along_axis(cost, by_cost, axis=1)
    weights = scoring.cost_weight(DIALS, cost_range_usd).tolist()
    values = (quality - weight * cost if math.isfinite(weight) else -cost for weight in weights)
    return by_cost[np.arange(len(cost)), np.stack([value.argmax(axis=1) for value in values])]


def measure_dials(quality: Array, cost: Array, score: Array, pool: Pool, cost_range_usd: float) -> DialTable:
    """The pool's table by predictions (B, M) and scores (B, M) on validation queries; six digits are kept."""
    rows, choices = np.arange(len(cost)), dial_choices(quality, cost, cost_range_usd)
    means = (DIALS, *(values[rows, choices].mean(axis=1) for values in (1000 * cost, quality, score)))
    columns = (tuple(float(f"{value:.6g}") for value in column) for column in means)
    return DialTable(fingerprint(pool, cost_range_usd), len(cost), **dict(zip(COLUMNS, columns, strict=True)))


def fingerprint(pool: Pool, cost_range_usd: float) -> str:
    """Twelve hex digits that change with the pool's systems, prices, onboarded profiles and scale of its dial."""
    members = [
        [c.system and c.system.id, c.facts.input_usd_per_mtok, c.facts.output_usd_per_mtok]
        + ([c.revision] if c.revision else [])
        for c in pool.candidates
    ]
    return hashlib.sha256(json.dumps([sorted(members, key=str), cost_range_usd]).encode()).hexdigest()[:12]


def find_table(tables: Mapping[str, DialTable], pool: Pool, cost_range_usd: float) -> DialTable:
    """The pool's table; CheckpointError where there is none at all, PoolError where none is of this pool."""
    if not tables:
        raise CheckpointError(
            "the checkpoint has no dial tables, since it was exported before there were any: measure them with "
            f"`python -m train dials CHECKPOINT`. {NO_TABLE_NEEDED}"
        )
    wanted = fingerprint(pool, cost_range_usd)
    for table in tables.values():
        if table.measured_with == wanted:
            return table
    raise PoolError(
        f"pool {pool.name!r} has no dial table: those of the checkpoint were measured with other models, prices or "
        f"cost ranges. {NO_TABLE_NEEDED}; `python -m train dials CHECKPOINT` measures the checkpoint's own pools again"
    )


def tables_to_json(tables: Mapping[str, DialTable]) -> str:
    """The content of `dials.json`: one line a pool."""
    lines = [f" {json.dumps(name)}: {json.dumps(asdict(table), allow_nan=False)}" for name, table in tables.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def tables_from_json(text: str) -> dict[str, DialTable]:
    """Inverse of `tables_to_json`; CheckpointError for anything else."""
    try:
        return {name: _table(raw) for name, raw in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"no dial tables ({error}); delete the file, or measure again with `python -m train dials CHECKPOINT`"
        ) from error


def _table(raw: Mapping[str, object]) -> DialTable:
    table = DialTable(**{key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()})  # type: ignore[arg-type]
    columns = [getattr(table, name) for name in COLUMNS]
    if not table.dial or {len(column) for column in columns} != {len(table.dial)}:
        raise ValueError(f"{', '.join(COLUMNS)} must be lists of one length")
    if not all(isinstance(value, int | float) and math.isfinite(value) for column in columns for value in column):
        raise ValueError(f"{', '.join(COLUMNS)} must hold finite numbers")
    falling = (*columns[1:3], [-dial for dial in table.dial])
    if any(later > earlier for column in falling for earlier, later in pairwise(column)):
        raise ValueError("cost and quality must not rise with the dial")
    if not 0 <= table.dial[0] <= table.dial[-1] <= DIAL_MAX:
        raise ValueError("dials must lie in 0 to 10")
    return table


@dataclass(frozen=True)
class Goal:
    """A budget or a quality in place of a dial, exactly one of the two; that of a decision says how it was met."""

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

    def assign(self, quality: arrays.Array, cost_usd: arrays.Array, admitted: NDArray[np.bool_]) -> Assignment:
        """The choice for predictions (B, M) that meets the goal exactly; UsageError where none does."""
        predicted = host(quality).astype(np.float64), host(cost_usd).astype(np.float64)
        if self.budget_usd_per_1k is not None:
            return best_within(*predicted, admitted, self.budget_usd_per_1k)
        assert self.quality_at_least is not None
        return cheapest_reaching(*predicted, admitted, self.quality_at_least)

    def met_at(self, cost_weight: float) -> Goal:
        """The goal as it stands in a decision made at `cost_weight`."""
        return replace(self, cost_weight=cost_weight if np.isfinite(cost_weight) else None)
