"""Routing in pieces: a list of queries routed a few at a time, so that a server can compute something else in between.

First the queries are read, texts of like length together; then decisions are made in the order of the queries. A list
that meets a budget or quality as a whole is ranked in one piece, whatever its size.
"""

from collections.abc import Generator, Sequence

import numpy as np

from router.arrays import namespace
from router.errors import counted_from
from router.policy.decision import Decision
from router.routing.pipeline import Pipeline, Reading
from router.routing.request import Request

Pieces = Generator[None, int, list[Decision]]


def route_in_pieces(pipeline: Pipeline, queries: Sequence[str], request: Request) -> Pieces:
    """A generator: after `next`, each `send(n)` encodes `n` further queries, later decides on `n` further ones; n >= 1.

    It returns the decisions of `Pipeline.route`, up to rounding, since other queries are computed together; a large
    pool is narrowed for other groups of queries.
    """
    if not queries:
        return []
    pipeline.check(queries, request)
    count = yield
    longest_first = sorted(range(len(queries)), key=lambda row: -len(queries[row]))
    readings: list[Reading] = []
    start = 0
    while start < len(queries):
        readings.append(pipeline.read([queries[row] for row in longest_first[start : start + count]], request))
        start += count
        count = yield
    reading = _joined(readings).rows(np.argsort(longest_first).tolist())
    together = None
    if request.is_met_by_batch:
        together = pipeline.ranked(reading, request)
        count = yield
    decisions: list[Decision] = []
    while True:
        rows = range(len(decisions), min(len(decisions) + count, len(queries)))
        if together is not None:
            decisions += together.decisions(request.top, rows)
        else:
            with counted_from(rows.start):
                decisions += pipeline.decide(reading.rows(rows), request.rows(rows))
        if len(decisions) == len(queries):
            return decisions
        count = yield


def _joined(readings: Sequence[Reading]) -> Reading:
    """All readings, one after the other."""
    xp = namespace(readings[0].embedding)
    queries = tuple(query for each in readings for query in each.queries)
    tails = tuple(tail for each in readings for tail in each.tails)
    embedding, shorter = (xp.concat(parts) for parts in zip(*((r.embedding, r.shorter) for r in readings), strict=True))
    return Reading(queries, embedding, shorter, tails)
