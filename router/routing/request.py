"""Routing requests: the options of queries that are routed together, and the checks of options and queries.

Knows no encoder, no network and no arrays of a pool. Axes: B queries, M candidates.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from router.errors import QueryError, UsageError, counted_from, known_names
from router.network import scoring
from router.options import ATTITUDES, DEFAULT_DIAL
from router.policy.candidates import Prediction
from router.policy.constraints import Constraints, cost_weights, matches
from router.policy.goals import BATCH, VALIDATION, DialPoint, Goal
from router.pools.pool import Pool

logger = logging.getLogger(__name__)
MAX_QUERY_CHARS = 500_000
MOST_LOOKED_UP, SHOWN_CHARS = 100, 80  # denied names, and characters of each that are logged
SCORED_TOGETHER = 20_000_000  # pairs of query and model that a goal for a list may weigh in a large pool


PoolChoice = str | Path | Pool | None  # by name, by file, as it is; None: the default pool


class RouteOptions(TypedDict, total=False):
    """The keyword arguments of `Router.route`."""

    pool: PoolChoice
    """A pool of the checkpoint by name, a pool file by path, or a `Pool`; by default the checkpoint's default pool."""
    dial: float | Sequence[float] | None
    """From 0 (quality at any price) to 10 (least predicted cost), or one per query of a list; by default 3."""
    budget_usd_per_1k: float | None
    """In place of a dial: the greatest mean predicted cost per 1,000 queries, in US dollars."""
    quality_at_least: float | None
    """In place of a dial: the least mean predicted quality, from 0 to 1."""
    allow: Iterable[str]
    """Names or wildcards of the only models that may answer; by default all."""
    deny: Iterable[str]
    """Names or wildcards of models that may not answer."""
    tools: bool
    """Whether the model must be able to call tools."""
    images: bool
    """Whether the model must be able to read images."""
    context_tokens: int | None
    """Tokens of prompt and answer that the model must take; by default the query's own estimate."""
    max_price_usd_per_mtok: float | None
    """The greatest price of input and of output, in US dollars per million tokens."""
    top: int
    """Alternatives to report; by default 5."""
    batch_size: int
    """Queries that are encoded together; by default 32."""
    guard: bool
    """Whether an unusual end of a query that changes its route is left out; the decision's `flagged` holds it."""
    attitude: str
    """Quality of models added from few answers: optimistic or pessimistic, a standard deviation up or down; neutral."""


@dataclass(frozen=True)
class Request:
    """The options of B queries that are routed together, checked."""

    pool: Pool
    dial: float | Sequence[float]  # one for all queries, or (B,)
    goal: Goal | None  # a budget or a quality in place of the dial
    constraints: Constraints
    top: int
    batch_size: int
    guard: bool
    attitude: float  # standard deviations

    @classmethod
    def read(
        cls,
        find_pool: Callable[[PoolChoice], Pool],
        *,
        pool: PoolChoice = None,
        dial: float | Sequence[float] | None = None,
        budget_usd_per_1k: float | None = None,
        quality_at_least: float | None = None,
        allow: Iterable[str] = (),
        deny: Iterable[str] = (),
        tools: bool = False,
        images: bool = False,
        context_tokens: int | None = None,
        max_price_usd_per_mtok: float | None = None,
        top: int = 5,
        batch_size: int = 32,
        guard: bool = False,
        attitude: str = "neutral",
    ) -> Request:
        """The request that these options of `Router.route` make; UsageError or PoolError."""
        check_counts(top=top, batch_size=batch_size)
        demands = (tools, images, context_tokens, max_price_usd_per_mtok)
        constraints = Constraints(read_names("allow", allow), read_names("deny", deny), *demands)
        deviations = read_attitude(attitude)
        goal = Goal.read(dial, budget_usd_per_1k, quality_at_least)
        chosen_dial = DEFAULT_DIAL if dial is None else dial
        return cls(find_pool(pool), chosen_dial, goal, constraints, top, batch_size, guard, deviations)

    @property
    def is_met_by_batch(self) -> bool:
        """Whether a budget or quality is met by the queries as a whole, so that no query can be decided alone."""
        return self.goal is not None and self.goal.met_on == BATCH

    def rows(self, rows: range) -> Request:
        """The request of some of the queries."""
        dials = np.asarray(self.dial, np.float64).reshape(-1)
        return self if len(dials) == 1 else replace(self, dial=dials[rows.start : rows.stop].tolist())

    def by_dial(self, point: DialPoint) -> Request:
        """The request by the dial that met its goal on validation."""
        assert self.goal is not None
        check_unconstrained(self.constraints)
        return replace(self, dial=point.dial, goal=replace(self.goal, met_on=VALIDATION))

    def weigh(
        self, prediction: Prediction, admitted: NDArray[np.bool_], cost_range_usd: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], list[int] | None]:
        """Dials and cost weights, (B,) both, and the choices (B,) where the goal of the batch makes them."""
        if self.goal is None or not self.is_met_by_batch:
            return *cost_weights(self.dial, len(admitted), cost_range_usd), None
        assigned = self.goal.assign(prediction.quality, prediction.cost_usd, admitted)
        return scoring.dial_of_weight(assigned.weight, cost_range_usd), assigned.weight, assigned.choice.tolist()


def read_attitude(name: str) -> float:
    """Standard deviations of an attitude; UsageError for an unknown one."""
    if name not in ATTITUDES:
        raise UsageError(f"attitude must be one of {', '.join(ATTITUDES)}, got {name!r}")
    return ATTITUDES[name]


def read_names(flag: str, names: Iterable[str]) -> tuple[str, ...]:
    """Names or wildcards; UsageError for anything else than a list of strings."""
    if isinstance(names, str):
        raise UsageError(f"{flag} takes a list of names or wildcards, got the string {names!r}: write [{names!r}]")
    listed = tuple(names) if isinstance(names, Iterable) else (names,)
    if not all(isinstance(name, str) for name in listed):
        raise UsageError(f"{flag} takes a list of names or wildcards, got {names!r}")
    return listed


class UnmatchedNames:
    """Warns of denied names that no model of a pool has: a misspelt one would let pass the model that it means.

    Each name is looked up once, and MOST_LOOKED_UP of them at most: what is kept and what is logged has a bound.
    """

    def __init__(self) -> None:
        self.looked_up: set[tuple[str, Pool]] = set()

    def warn(self, deny: Sequence[str], pool: Pool) -> None:
        """Look up what was not looked up before."""
        for name in deny:
            key = (name[:SHOWN_CHARS], pool)
            if len(self.looked_up) >= MOST_LOOKED_UP:
                return
            if key in self.looked_up:
                continue
            self.looked_up.add(key)
            if not any(matches(model, [name]) for model in pool.ids):
                known = known_names(key[0], pool.ids)
                logger.warning("deny %r matches no model of pool %s; %s", key[0], pool.name, known)
            if len(self.looked_up) >= MOST_LOOKED_UP:
                logger.warning("further denied names are not looked up: there were %d", MOST_LOOKED_UP)


def check_counts(**counts: object) -> None:
    """UsageError for a number, by its name, that is not a whole one of at least 1."""
    for name, number in counts.items():
        if not isinstance(number, int) or number < 1:
            raise UsageError(f"{name} must be a whole number of at least 1, got {number!r}")


def check_unconstrained(constraints: Constraints) -> None:
    """UsageError where a goal for one query or a stream would be met by a dial measured with other models."""
    if constraints != Constraints():
        raise UsageError(
            "a budget or quality for one query or a stream is met by a dial measured with all of the pool's models, "
            "but allow, deny or a demand leaves some out: give a list of queries, on the command line --input FILE, "
            "for which it is met exactly; or give a dial"
        )


def check_fits(queries: int, models: int) -> None:
    """UsageError where a goal for a list would have too many pairs of query and model scored at once."""
    most = max(SCORED_TOGETHER // models, 1)
    if queries > most:
        raise UsageError(
            "a budget or quality for a list weighs every model of the pool for every query, and "
            f"{queries:,} queries on {models:,} models are too many: give at most {most:,} at a time, or a dial"
        )


def read_queries(queries: object) -> str | list[Any] | Iterator[Any]:
    """A query as it is; sequences, arrays and table columns as a list; any other iterable of queries as an iterator.

    QueryError for anything else. The queries themselves are not looked at.
    """
    if isinstance(queries, str):
        return queries
    shape = getattr(queries, "shape", None)  # of arrays and of columns, which are no `Sequence`
    if isinstance(shape, tuple) and len(shape) != 1:
        raise QueryError(
            f"give a list of queries, got {type(queries).__name__} of shape {shape}: give one column of it"
        )
    if not isinstance(queries, Iterable) or isinstance(queries, bytes | Mapping):
        raise QueryError(f"give a query, a list or an iterator of queries, got {type(queries).__name__}")
    return list(queries) if shape is not None or isinstance(queries, Sequence) else iter(queries)


def check_queries(queries: Iterable[object]) -> None:
    """QueryError for a string in place of a list, or, with its index, for the first query that cannot be routed."""
    if isinstance(queries, str):
        raise QueryError("give a list of queries, got one string: write [query]")
    for index, query in enumerate(queries):
        with counted_from(index):
            check_query(query)


def check_query(query: object) -> None:
    """QueryError for anything that cannot be routed: not a string, blank, too long, or broken Unicode."""
    if not isinstance(query, str):
        raise QueryError(f"a query must be a string, got {type(query).__name__}")
    if not query.strip():
        raise QueryError("the query is empty: give at least one character that is not white space")
    if len(query) > MAX_QUERY_CHARS:
        raise QueryError(
            f"the query has {len(query):,} characters; at most {MAX_QUERY_CHARS:,} can be routed: shorten it"
        )
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"the query is not valid Unicode ({error.reason} at character {error.start})") from error
