"""Whose queries are computed next, and how many of a list at once: a lane of jobs, and the pace at which lists go on.

Clients take turns. Knows neither threads nor the router: the engine holds its lock while it asks.
"""

from __future__ import annotations

import statistics
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from router.errors import QueueFullError

LONGEST_S = 0.25  # of a piece while nobody else asks: longer ones are no faster
QUIET_AFTER_S = 10.0  # without a single query
FIRST = 8  # queries of a list's first piece while nobody else asks: how long one takes is not known yet
IDLE_DECISION_S = 0.005  # until one was measured
REMEMBERED = 31  # measured decisions, of which the median counts


class Waiting(Protocol):
    """What a lane must know of a job."""

    @property
    def client(self) -> Hashable:
        """Who asks."""

    @property
    def queries(self) -> Sequence[str]:
        """What is asked."""

    @property
    def future(self) -> Future[Any]:
        """Cancelled where nobody waits any more."""


Job = TypeVar("Job", bound=Waiting)


class Lane(Generic[Job]):
    """Jobs that wait: each client's in order, and the clients in turn.

    Args:
        most: queries that may wait, or one job of any size; QueueFullError beyond.
    """

    def __init__(self, most: int) -> None:
        self.most, self.queries = most, 0  # allowed, and waiting now
        self._clients: OrderedDict[Hashable, deque[Job]] = OrderedDict()  # whose turn it is first

    def __bool__(self) -> bool:
        return bool(self._clients)

    def put(self, job: Job) -> None:
        """A new job, the last of its client's."""
        if self._is_full(job):
            self._drop_cancelled()
            if self._is_full(job):
                raise QueueFullError(f"{self.queries} queries wait already, of at most {self.most}: retry soon")
        self._clients.setdefault(job.client, deque()).append(job)
        self.queries += len(job.queries)

    def take(self) -> Job:
        """The first job of the client whose turn it is, which is the last to have its next one."""
        client, jobs = self._clients.popitem(last=False)
        job = jobs.popleft()
        if jobs:
            self._clients[client] = jobs
        self.queries -= len(job.queries)
        return job

    def put_back(self, job: Job) -> None:
        """A job that is not done: the first of its client's, at that client's next turn."""
        self._clients.setdefault(job.client, deque()).appendleft(job)
        self.queries += len(job.queries)

    def _is_full(self, job: Job) -> bool:
        return self.queries > 0 and self.queries + len(job.queries) > self.most

    def _drop_cancelled(self) -> None:
        left = [(client, deque(j for j in jobs if not j.future.cancelled())) for client, jobs in self._clients.items()]
        self._clients = OrderedDict((client, jobs) for client, jobs in left if jobs)
        self.queries = sum(len(job.queries) for jobs in self._clients.values() for job in jobs)


class Pace:
    """How many queries of a list are computed before somebody else may be: as many as a bound of time allows.

    Whoever asks one query meets at most one piece in its way. Since it comes unannounced, pieces stay short for a while
    after the last one: twice an idle decision's median. Otherwise they are as long as is good for a list.

    Args:
        most: queries of a piece.
        clock: seconds, never going back.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self.most = most
        self._clock = clock
        self._asked_at = -QUIET_AFTER_S + clock()
        self._took: deque[float] = deque(maxlen=REMEMBERED)

    def asked(self) -> None:
        """A single query came."""
        self._asked_at = self._clock()

    def took(self, seconds: float) -> None:
        """A single query was decided, while nothing else was computed, in this time."""
        self._took.append(seconds)

    @property
    def bound_s(self) -> float:
        """How long a piece may take now."""
        return LONGEST_S if self._is_quiet else 2 * (statistics.median(self._took) if self._took else IDLE_DECISION_S)

    @property
    def _is_quiet(self) -> bool:
        return self._clock() - self._asked_at >= QUIET_AFTER_S

    def size(self, query_s: float | None) -> int:
        """Queries of the next piece of a list whose last one took this long for each, None for a list that is new."""
        if query_s is None:
            return min(FIRST if self._is_quiet else 1, self.most)
        return min(max(int(self.bound_s / max(query_s, 1e-9)), 1), self.most)
