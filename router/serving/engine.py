"""An asyncio front to a `Router`: never blocks the event loop, and routes together what arrives together.

Worker threads compute. What arrived while they were busy is the next batch, so that a lone query does not wait and many
share the encoder. Knows no HTTP. Jobs may come from several threads and event loops.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack

from router.decision import GOALS, Decision
from router.errors import RouterError, UsageError

if TYPE_CHECKING:
    from router.routing import RouteOptions, Router


class QueueFullError(RouterError):
    """More queries wait than the engine was told to hold: try again soon, or run more replicas."""


class EngineClosedError(RouterError):
    """The engine was closed; it takes no further queries."""


@dataclass(eq=False)
class _Job:
    """Queries of one caller with their options, and where the caller waits."""

    queries: list[str]
    dial: float | Sequence[float] | None
    options: dict[str, Any]
    router: Router  # who was in place when it came
    alone: bool  # not to be joined with others
    one: bool  # a query by itself, not a list of one: goals are met otherwise
    future: Future[list[Decision]] = field(default_factory=Future)

    @property
    def kind(self) -> Hashable:
        """Jobs of one kind are routed together; only their queries and dials differ."""
        return id(self) if self.alone else (id(self.router), self.dial is None, _hashable(self.options))

    @property
    def dials(self) -> list[float]:
        given = self.dial
        return list(given) if isinstance(given, Sequence) else [float(given or 0.0)] * len(self.queries)


class Engine:
    """Routes for many callers at once.

    Args:
        router: what decides; replaced by `swap`.
        max_queue: queries that may wait; QueueFullError beyond.
        max_batch: queries routed together.
        cached: decisions kept for queries repeated with the same options, about 20 kB each; of a query its SHA-256.
        workers: batches that are computed at the same time; with two, one is computed while the other is read and
            written.
    """

    def __init__(
        self, router: Router, *, max_queue: int = 1024, max_batch: int = 32, cached: int = 1024, workers: int = 1
    ) -> None:
        least = {"max_queue": 1, "max_batch": 1, "cached": 0, "workers": 1}
        for name, number in zip(least, (max_queue, max_batch, cached, workers), strict=True):
            if not isinstance(number, int) or number < least[name]:
                raise UsageError(f"{name} must be a whole number of at least {least[name]}, got {number!r}")
        self.max_queue, self.max_batch, self.cached = max_queue, max_batch, cached
        self._router = router
        self._cache: OrderedDict[Hashable, Decision] = OrderedDict()
        self._jobs: deque[_Job] = deque()
        self._waiting = 0
        self._closed = False
        self._changed = threading.Condition()  # guards all of the above
        self._workers = [threading.Thread(target=self._work, name="router-engine", daemon=True) for _ in range(workers)]
        for worker in self._workers:
            worker.start()

    @property
    def router(self) -> Router:
        """What decides at present."""
        return self._router

    @property
    def waiting(self) -> int:
        """Queries that wait for a worker."""
        return self._waiting

    async def route(self, query: str, **options: Unpack[RouteOptions]) -> Decision:
        """The decision on one query; options and errors as of `Router.route`, and QueueFullError."""
        key = self._key(query, options)
        with self._changed:
            found = self._cache.get(key) if key is not None else None
            if found is not None:
                self._cache.move_to_end(key)
                return found.of(query)
            router = self._router
        decision = (await self._submit([query], options, one=True))[0]
        if key is not None:
            self._remember(router, key, decision)
        return decision

    async def route_many(self, queries: Sequence[str], **options: Unpack[RouteOptions]) -> list[Decision]:
        """Decisions on a list, whose budget or quality is met as a whole."""
        if isinstance(queries, str):
            raise UsageError("route_many takes a list of queries, got one string: write [query], or use route")
        return await self._submit(list(queries), options, one=False) if queries else []

    def swap(self, router: Router) -> None:
        """Decide by another router what comes from now on; what waits is decided by the one that it was asked of.

        Load and warm it first, in a thread of its own: this only puts it in place.
        """
        with self._changed:
            self._router = router
            self._cache.clear()

    def close(self) -> None:
        """Take no further queries, and return when all that wait have their decisions."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    async def _submit(self, queries: list[str], options: Mapping[str, Any], *, one: bool) -> list[Decision]:
        rest = {key: value for key, value in options.items() if key != "dial"}
        alone = any(rest.get(goal) is not None for goal in GOALS)
        dial = options.get("dial")
        if isinstance(dial, Sequence) and not isinstance(dial, str) and len(dial) != len(queries):
            raise UsageError(f"got {len(dial)} dials for {len(queries)} queries: give one number, or one per query")
        if not isinstance(dial, int | float | list | tuple | None):
            raise UsageError(f"dial must be a number from 0 to 10, or one per query; got {dial!r}")
        with self._changed:
            job = _Job(queries, dial, rest, self._router, alone, one)
            if self._closed:
                raise EngineClosedError("the engine is closed: it takes no further queries")
            if self._waiting and self._waiting + len(queries) > self.max_queue:
                raise QueueFullError(f"{self._waiting} queries wait already, of at most {self.max_queue}: retry soon")
            self._jobs.append(job)
            self._waiting += len(queries)
            self._changed.notify()
        return await asyncio.wrap_future(job.future)  # a caller that is cancelled cancels the job

    def _key(self, query: str, options: Mapping[str, Any]) -> Hashable:
        """Under which a decision is remembered; None where it is not."""
        if not self.cached or not isinstance(query, str):
            return None
        try:
            read = hashlib.sha256(query.encode("utf-8", "surrogatepass")).digest()
            hash(key := (read, _hashable(options)))
        except TypeError:  # an option that has no hash: the router says what is wrong with it
            return None
        return key

    def _remember(self, router: Router, key: Hashable, decision: Decision) -> None:
        with self._changed:
            if router is self._router:  # else it is the decision of one that is gone
                self._cache[key] = decision.of("")
                while len(self._cache) > self.cached:
                    self._cache.popitem(last=False)

    def _work(self) -> None:
        while self._route_next():
            pass

    def _route_next(self) -> bool:
        """Wait for jobs and answer them; False once there will be none. Holds no router while it waits for the next."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            if not self._jobs:
                return False
            jobs = self._take()
        groups: dict[Hashable, list[_Job]] = {}
        for job in jobs:
            if job.future.set_running_or_notify_cancel():
                groups.setdefault(_kind(job), []).append(job)
        for group in groups.values():
            _answer(group)
        return True

    def _take(self) -> list[_Job]:
        """The first jobs in the queue, as many as make a batch and are a worker's share of it; at least one."""
        share = min(-(-self._waiting // len(self._workers)), self.max_batch)
        taken = [self._jobs.popleft()]
        size = len(taken[0].queries)
        while self._jobs and size + len(self._jobs[0].queries) <= share:
            taken.append(self._jobs.popleft())
            size += len(taken[-1].queries)
        self._waiting -= size
        return taken


def _kind(job: _Job) -> Hashable:
    try:
        hash(kind := job.kind)
    except TypeError:
        return id(job)
    return kind


def _hashable(options: Mapping[str, Any]) -> Hashable:
    """Options as a key; lists as tuples."""
    return tuple(sorted((name, tuple(v) if isinstance(v, list) else v) for name, v in options.items()))


def _answer(group: list[_Job]) -> None:
    """Route the jobs of one kind together; where that fails, each by itself, so that it fails whom it concerns."""
    router, queries = group[0].router, [query for job in group for query in job.queries]
    try:
        if group[0].one and len(group) == 1:
            decisions = [router.route(queries[0], dial=group[0].dial, **group[0].options)]
        else:
            dials = None if group[0].dial is None else [dial for job in group for dial in job.dials]
            decisions = router.route(queries, dial=dials, **group[0].options)
    except Exception as error:  # whatever it is, it belongs to who asked
        if len(group) == 1:
            group[0].future.set_exception(error)
            return
        for job in group:
            _answer([job])
        return
    start = 0
    for job in group:
        job.future.set_result(decisions[start : start + len(job.queries)])
        start += len(job.queries)
