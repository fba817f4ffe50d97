"""Pipeline: the way from queries to decisions in six steps (encode, guard, narrow, predict, choose, explain).

`Pipeline.read` encodes, `Pipeline.ranked` does the rest up to the arrays that `RankedBatch` explains. Knows the
encoder, the network and the pool cache; no `Router` and no files. Axes: B queries, E embedding, M candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, host, like, namespace
from router.checkpoint.checkpoint import Checkpoint
from router.encoding.suffix_guard import SuffixGuard
from router.errors import counted_from
from router.network.vectors import QueryVectors
from router.options import CHARS_PER_TOKEN
from router.policy.candidates import Candidates, Prediction
from router.policy.constraints import cost_weights, rank
from router.policy.decision import Decision
from router.policy.explanation import RankedBatch, contributing
from router.routing.pool_cache import PoolCache
from router.routing.request import Request, check_fits, check_queries

NARROWED_TOGETHER = 32  # queries for which a large pool is narrowed to one shortlist


@dataclass(frozen=True)
class Reading:
    """B queries and what the encoder makes of them."""

    queries: tuple[str, ...]
    embedding: Array  # (B, E)
    shorter: Array  # (B, E), of the queries without their unusual ends
    tails: tuple[str | None, ...]  # (B,) the unusual ends, where the guard looked for them

    def rows(self, rows: Sequence[int]) -> Reading:
        """The reading of some of the queries, in this order."""
        at = slice(rows.start, rows.stop) if isinstance(rows, range) and rows.step == 1 else list(rows)
        queries, tails = tuple(self.queries[row] for row in rows), tuple(self.tails[row] for row in rows)
        return Reading(queries, self.embedding[at], self.shorter[at], tails)

    def without_tails(self, moved: NDArray[np.bool_]) -> Reading:
        """The reading that leaves out the ends of the queries in `moved` (B,)."""
        xp = namespace(self.embedding)
        embedding = xp.where(like(moved[:, None], self.embedding, dtype=xp.bool), self.shorter, self.embedding)
        return replace(self, embedding=embedding)


@dataclass(frozen=True)
class Choice:
    """The candidates of B queries in order of utility, and the cost weights that order them."""

    dials: NDArray[np.float64]  # (B,)
    weights: NDArray[np.float64]  # (B,) quality per USD
    admitted: NDArray[np.bool_]  # (B, M)
    utility: Array  # (B, M)
    order: list[list[int]]  # of each query its best admitted candidates, the chosen one first


class Pipeline:
    """Decides on queries by one checkpoint."""

    def __init__(self, checkpoint: Checkpoint, pool_cache: PoolCache) -> None:
        self.encoder, self.network, self.taxonomy = checkpoint.encoder, checkpoint.network, checkpoint.taxonomy
        self.pool_cache = pool_cache
        self.guard: SuffixGuard | None = None  # made when a request first asks for it
        self._axes = contributing(checkpoint.taxonomy)

    def route(self, queries: Sequence[str], request: Request) -> list[Decision]:
        """The decisions on a list of queries; QueryError, NoCandidateError or UsageError."""
        if not queries:
            return []
        self.check(queries, request)
        return self.decide(self.read(queries, request), request)

    def stream(self, queries: Iterator[str], request: Request) -> Iterator[Decision]:
        """The decisions on an iterator of queries, lazily, the request's `batch_size` at a time."""
        start = 0
        while batch := list(islice(queries, request.batch_size)):
            with counted_from(start):
                decisions = self.route(batch, request)
            yield from decisions
            start += len(batch)

    def check(self, queries: Sequence[str], request: Request) -> None:
        """Refuse a query that cannot be routed, or dials that do not fit the queries, before anything is computed."""
        check_queries(queries)
        if not request.is_met_by_batch:
            cost_weights(request.dial, len(queries), self.pool_cache.candidates(request.pool).cost_range_usd)
        elif self.pool_cache.is_large(request.pool):
            check_fits(len(queries), len(request.pool.candidates))

    def read(self, queries: Sequence[str], request: Request) -> Reading:
        """The encoder's part of the work; for the guard also on the queries without their unusual ends."""
        embedding = self.encoder.encode(queries, batch_size=request.batch_size)
        if not request.guard:
            return Reading(tuple(queries), embedding, embedding, (None,) * len(queries))
        if self.guard is None:
            self.guard = SuffixGuard(self.encoder.described.tokenizer)
        tails = tuple(self.guard.tail(query) for query in queries)
        rows = [row for row, tail in enumerate(tails) if tail]
        rest = [query.removesuffix(tail) for query, tail in zip(queries, tails, strict=True) if tail]
        if not rows:
            return Reading(tuple(queries), embedding, embedding, tails)
        shorter = namespace(embedding).asarray(embedding, copy=True)
        shorter[rows] = self.encoder.encode(rest, batch_size=request.batch_size)
        return Reading(tuple(queries), embedding, shorter, tails)

    def decide(self, reading: Reading, request: Request) -> list[Decision]:
        """The decisions on queries that were read: all at once, or for a large pool NARROWED_TOGETHER at a time."""
        count = len(reading.queries)
        step = NARROWED_TOGETHER if self.pool_cache.narrows(request) else count
        decisions: list[Decision] = []
        for start in range(0, count, step):
            rows = range(start, min(start + step, count))
            with counted_from(start):
                decisions += self.ranked(reading.rows(rows), request.rows(rows)).decisions(request.top)
        return decisions

    def ranked(self, reading: Reading, request: Request) -> RankedBatch:
        """The ranked candidates of some queries, from which decisions are written."""
        flagged: tuple[str | None, ...] = (None,) * len(reading.queries)
        if request.guard:
            reading, flagged = self._guarded(reading, request)
        vectors = self._vectors(reading.embedding, reading.queries)
        candidates = self.pool_cache.narrowed(request, vectors)
        prediction = candidates.predict(*vectors, request.attitude)
        choice = choose(prediction, candidates, request)
        return RankedBatch(
            queries=reading.queries,
            pool=request.pool.name,
            candidates=candidates,
            taxonomy=self.taxonomy,
            axes=self._axes,
            prediction=prediction,
            utility=choice.utility,
            dials=choice.dials,
            weights=choice.weights,
            order=choice.order,
            goal=request.goal,
            flagged=flagged,
        )

    def predict(self, queries: Sequence[str], candidates: Candidates, batch_size: int) -> Prediction:
        """Quality and expected cost (B, M) of all candidates."""
        check_queries(queries)
        return candidates.predict(*self._vectors(self.encoder.encode(list(queries), batch_size=batch_size), queries))

    def _guarded(self, reading: Reading, request: Request) -> tuple[Reading, tuple[str | None, ...]]:
        """The reading without those ends of queries that change a route, and these ends (B,)."""
        if not any(reading.tails):
            return reading, (None,) * len(reading.queries)
        both = [self._vectors(each, reading.queries) for each in (reading.embedding, reading.shorter)]
        candidates = self.pool_cache.narrowed(request, *both)
        whole, shorter = (candidates.predict(*each, request.attitude) for each in both)
        choice = choose(whole, candidates, request)
        best, best_without = (
            host(rank(each.quality, each.cost_usd, choice.weights, choice.admitted, 1)[1])[:, 0]
            for each in (whole, shorter)
        )
        moved = best != best_without
        if not moved.any():
            return reading, (None,) * len(reading.queries)
        flagged = [tail if differs else None for tail, differs in zip(reading.tails, moved.tolist(), strict=True)]
        return reading.without_tails(moved), tuple(flagged)

    def _vectors(self, embedding: Array, queries: Sequence[str]) -> tuple[QueryVectors, Array]:
        """Query vectors of an `embedding` (B, E), and estimated tokens (B,) of the queries as the models get them."""
        vectors = self.network.query_vectors(embedding)
        return vectors, like([len(query) / CHARS_PER_TOKEN for query in queries], vectors.difficulty)


def choose(prediction: Prediction, candidates: Candidates, request: Request) -> Choice:
    """Admit candidates by the request's constraints, weigh cost by its dial or goal, and put them in order."""
    tokens = prediction.input_tokens.tolist()
    admitted = request.constraints.admit(candidates.facts, tokens, candidates.windows, request.pool.name)
    dials, weights, assigned = request.weigh(prediction, admitted, candidates.cost_range_usd)
    utility, ranked = rank(prediction.quality, prediction.cost_usd, weights, admitted, max(request.top, 2))
    order = [[m for m in row if admitted[b, m]] for b, row in enumerate(ranked.tolist())]
    if assigned is not None:  # the assigned candidate is its query's best, or as good as the best at these weights
        order = [[m, *(n for n in row if n != m)] for m, row in zip(assigned, order, strict=True)]
    return Choice(dials, weights, admitted, utility, order)
