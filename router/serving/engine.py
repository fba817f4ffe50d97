"""Asyncio engine in front of a `Router`: batches concurrent queries in worker threads, never blocks the event loop.

Single queries go first: those that arrived while the workers were busy are the next batch. Lists are computed piece by
piece in between. Jobs may come from several threads and event loops. This module knows no HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from router.errors import EngineClosedError, UsageError
from router.policy.decision import GOALS, Decision
from router.serving.lanes import Job, Lane, Pace

if TYPE_CHECKING:
    from router.routing.pieces import Pieces
    from router.routing.request import RouteOptions
    from router.routing.router import Router


@dataclass(eq=False, kw_only=True)
class _Job(Job):
    """A job with its options."""

    dial: float | Sequence[float] | None
    options: dict[str, Any]
    router: Router  # the engine's router when the job came
    pieces: Pieces | None = None  # of a list: the computation that goes on
    query_s: float | None = None  # of a list: seconds a query of its last piece

    @property
    def kind(self) -> Hashable:
        """The key of single queries that are routed together: all but query and dial is equal."""
        kind = (id(self.router), self.dial is None, _hashable(self.options))
        by_goal = any(self.options.get(goal) is not None for goal in GOALS)  # a batch would meet the goal as a whole
        return id(self) if by_goal or not _has_hash(kind) else kind

    @property
    def one_dial(self) -> float:
        """The dial of a single query, which callers may give as a list of one."""
        return self.dial[0] if isinstance(self.dial, Sequence) else self.dial or 0.0


class Engine:
    """A `Router` for many concurrent callers.

    A list is computed piece by piece, and single queries go first: each waits for at most one piece, which takes no
    longer than two idle decisions if single queries came recently. Callers, distinguished by `client`, take turns.

    Args:
        router: the router that decides; `swap` replaces it.
        max_queue: single queries that may wait; more raise QueueFullError.
        max_list_queue: the same for queries of lists.
        max_batch: queries routed together.
        cached: decisions kept for repeated queries with the same options, about 20 kB each; the key is a SHA-256.
        workers: batches computed at the same time; with two, one is computed while the other is read and written.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        router: Router,
        *,
        max_queue: int = 1024,
        max_list_queue: int = 10_000,
        max_batch: int = 32,
        cached: int = 1024,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given = {"max_queue": max_queue, "max_list_queue": max_list_queue, "max_batch": max_batch, "workers": workers}
        for name, number, least in [*((name, number, 1) for name, number in given.items()), ("cached", cached, 0)]:
            if not isinstance(number, int) or number < least:
                raise UsageError(f"{name} must be a whole number of at least {least}, got {number!r}")
        self.max_batch, self.cached = max_batch, cached
        self._router = router
        self._cache: OrderedDict[Hashable, Decision] = OrderedDict()
        self._singles: Lane[_Job] = Lane(max_queue)
        self._lists: Lane[_Job] = Lane(max_list_queue)
        self._clock, self._pace = clock, Pace(max_batch, clock)
        self._under_way = 0  # workers that compute
        self._begun = 0  # times that one began
        self._closed = False
        self._changed = threading.Condition()  # guards all of the above
        self._workers = [threading.Thread(target=self._work, name="router-engine", daemon=True) for _ in range(workers)]
        for worker in self._workers:
            worker.start()

    @property
    def router(self) -> Router:
        """The present router."""
        return self._router

    @property
    def waiting(self) -> int:
        """Queries that wait for a worker."""
        return self._singles.queries + self._lists.queries

    async def route(self, query: str, *, client: Hashable = None, **options: Unpack[RouteOptions]) -> Decision:
        """The decision on one query; options and errors as in `Router.route`, plus QueueFullError."""
        key = self._key(query, options)
        with self._changed:
            found = self._cache.get(key) if key is not None else None
            if found is not None:
                self._cache.move_to_end(key)
                return found.of(query)
            router = self._router
        decision = (await self._submit(self._singles, [query], options, client))[0]
        if key is not None:
            self._remember(router, key, decision)
        return decision

    async def route_many(
        self, queries: Sequence[str], *, client: Hashable = None, **options: Unpack[RouteOptions]
    ) -> list[Decision]:
        """Decisions on a list of queries, which meets a budget or a quality goal as a whole."""
        if isinstance(queries, str):
            raise UsageError("route_many takes a list of queries, got one string: write [query], or use route")
        return await self._submit(self._lists, list(queries), options, client) if queries else []

    def swap(self, router: Router) -> None:
        """Use another router for queries that come from now on; waiting ones keep the old router.

        Load and warm the new router before, in a thread of its own.
        """
        with self._changed:
            self._router = router
            self._cache.clear()

    def close(self) -> None:
        """Take no further queries, and return when all waiting ones are decided."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    async def _submit(
        self, lane: Lane[_Job], queries: list[str], options: Mapping[str, Any], client: Hashable
    ) -> list[Decision]:
        rest = {key: value for key, value in options.items() if key != "dial"}
        dial = options.get("dial")
        if isinstance(dial, Sequence) and not isinstance(dial, str) and len(dial) != len(queries):
            raise UsageError(f"got {len(dial)} dials for {len(queries)} queries: give one number, or one per query")
        if not isinstance(dial, int | float | list | tuple | None):
            raise UsageError(f"dial must be a number from 0 to 10, or one per query; got {dial!r}")
        with self._changed:
            if self._closed:
                raise EngineClosedError("the engine is closed: it takes no further queries")
            job = _Job(client, queries, dial=dial, options=rest, router=self._router)
            lane.put(job)
            if lane is self._singles:
                self._pace.asked()
            self._changed.notify()
        return await asyncio.wrap_future(job.future)  # a caller that is cancelled cancels the job

    def _key(self, query: str, options: Mapping[str, Any]) -> Hashable:
        """The cache key of a query with its options; None if its decision is not cached."""
        if not self.cached or not isinstance(query, str):
            return None
        key = (hashlib.sha256(query.encode("utf-8", "surrogatepass")).digest(), _hashable(options))
        return key if _has_hash(key) else None

    def _remember(self, router: Router, key: Hashable, decision: Decision) -> None:
        with self._changed:
            if router is self._router:  # a swapped router's decision is not cached
                self._cache[key] = decision.of("")
                while len(self._cache) > self.cached:
                    self._cache.popitem(last=False)

    def _work(self) -> None:
        while self._route_next():
            pass

    def _route_next(self) -> bool:
        """Wait for jobs and compute a part of them; False after the last. Holds no router while it waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._singles or self._lists or self._closed)
            if not (self._singles or self._lists):
                return False
            share = min(-(-self._singles.queries // len(self._workers)), self.max_batch)  # of those that wait
            singles = [self._singles.take() for _ in range(share)]
            listed = None if singles else self._lists.take()
            size = 0 if listed is None else self._pace.size(listed.query_s)
            idle = not self._under_way
            self._under_way += 1
            self._begun += 1
            begun = self._begun
        started = self._clock()
        decided = _go_on(listed, size) if listed is not None else _decide_all(singles)
        seconds = self._clock() - started
        with self._changed:
            self._under_way -= 1
            if listed is not None:
                listed.query_s = seconds / size
                if not decided:
                    self._lists.put_back(listed)
            elif decided == 1 and idle and begun == self._begun:
                self._pace.took(seconds)
        return True


def _go_on(job: _Job, size: int) -> bool:
    """Compute a piece of a list; True if it was the last, failed, or its caller is gone."""
    try:
        if job.future.cancelled():
            return True
        if job.pieces is None:
            job.pieces = job.router.route_in_pieces(job.queries, dial=job.dial, **job.options)
            next(job.pieces)
        job.pieces.send(size)
        return False
    except StopIteration as end:
        if job.future.set_running_or_notify_cancel():
            job.future.set_result(end.value)
    except Exception as error:  # any error belongs to the caller
        if job.future.set_running_or_notify_cancel():
            job.future.set_exception(error)
    return True


def _decide_all(jobs: list[_Job]) -> int:
    """Decide single queries, those of one kind together; the number that got a decision."""
    groups: dict[Hashable, list[_Job]] = {}
    running = [job for job in jobs if job.future.set_running_or_notify_cancel()]
    for job in running:
        groups.setdefault(job.kind, []).append(job)
    for group in groups.values():
        _decide(group)
    return sum(job.future.exception() is None for job in running)


def _has_hash(key: object) -> bool:
    try:
        hash(key)
    except TypeError:  # of an option: the router reports it
        return False
    return True


def _hashable(options: Mapping[str, Any]) -> Hashable:
    """Options as a cache key, with lists as tuples."""
    return tuple(sorted((name, tuple(v) if isinstance(v, list) else v) for name, v in options.items()))


def _decide(group: list[_Job]) -> None:
    """Route single queries of one kind together; if that fails, each by itself, so that only faulty ones fail."""
    first = group[0]
    try:
        if len(group) == 1:
            decisions = [first.router.route(first.queries[0], dial=first.dial, **first.options)]
        else:
            dials = None if first.dial is None else [job.one_dial for job in group]
            decisions = first.router.route([job.queries[0] for job in group], dial=dials, **first.options)
    except Exception as error:  # any error belongs to the caller
        if len(group) == 1:
            first.future.set_exception(error)
            return
        for job in group:
            _decide([job])
        return
    for job, decision in zip(group, decisions, strict=True):
        job.future.set_result([decision])
