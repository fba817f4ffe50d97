"""Lanes: a fair queue of jobs in which clients take turns, and the piece size of long lists.

This module knows neither threads nor the router: the engine holds its lock during each call.
"""

import statistics
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from router.errors import QueueFullError

LONGEST_S = 0.25  # of a piece while no single queries come: longer ones are no faster
QUIET_AFTER_S = 10.0  # without a single query
FIRST = 8  # queries of a list's first piece while no single queries come: their time is not known yet
IDLE_DECISION_S = 0.005  # assumed until one is measured
REMEMBERED = 31  # measured decisions; their median counts


@dataclass(eq=False)
class Job:
    """Queries of one client, and the future that the caller awaits; it is cancelled if the caller is gone."""

    client: Hashable
    queries: list[str]
    future: Future[Any] = field(default_factory=Future)


J = TypeVar("J", bound=Job)


class Lane(Generic[J]):
    """A queue of jobs: in order for each client, with the clients in turn.

    Args:
        most: queries that may wait, or one job of any size; more raise QueueFullError.
    """

    def __init__(self, most: int) -> None:
        self.most, self.queries = most, 0  # allowed; waiting now
        self._clients: OrderedDict[Hashable, deque[J]] = OrderedDict()  # the next client first

    def __bool__(self) -> bool:
        return bool(self._clients)

    def put(self, job: J) -> None:
        """Add a new job behind the other jobs of its client."""
        if self._is_full(job):
            self._drop_cancelled()
            if self._is_full(job):
                raise QueueFullError(f"{self.queries} queries wait already, of at most {self.most}: retry soon")
        self._clients.setdefault(job.client, deque()).append(job)
        self.queries += len(job.queries)

    def take(self) -> J:
        """The first job of the next client, which then goes behind all other clients."""
        client, jobs = self._clients.popitem(last=False)
        job = jobs.popleft()
        if jobs:
            self._clients[client] = jobs
        self.queries -= len(job.queries)
        return job

    def put_back(self, job: J) -> None:
        """Put back an unfinished job, as the first of its client."""
        self._clients.setdefault(job.client, deque()).appendleft(job)
        self.queries += len(job.queries)

    def _is_full(self, job: J) -> bool:
        return self.queries > 0 and self.queries + len(job.queries) > self.most

    def _drop_cancelled(self) -> None:
        left = [(client, deque(j for j in jobs if not j.future.cancelled())) for client, jobs in self._clients.items()]
        self._clients = OrderedDict((client, jobs) for client, jobs in left if jobs)
        self.queries = sum(len(job.queries) for jobs in self._clients.values() for job in jobs)


class Pace:
    """The size of a list's next piece: as many queries as a bound of time allows.

    A single query waits for at most one piece. For a while after a single query pieces take at most twice the median
    time of an idle decision. Otherwise they are as long as is good for a list.

    Args:
        most: queries of a piece at most.
        clock: seconds, never going back.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self.most = most
        self._clock = clock
        self._asked_at = -QUIET_AFTER_S + clock()
        self._took: deque[float] = deque(maxlen=REMEMBERED)

    def asked(self) -> None:
        """Note that a single query came."""
        self._asked_at = self._clock()

    def took(self, seconds: float) -> None:
        """Note the time of a single decision during which nothing else was computed."""
        self._took.append(seconds)

    @property
    def bound_s(self) -> float:
        """Seconds that a piece may take now."""
        return LONGEST_S if self._is_quiet else 2 * (statistics.median(self._took) if self._took else IDLE_DECISION_S)

    @property
    def _is_quiet(self) -> bool:
        return self._clock() - self._asked_at >= QUIET_AFTER_S

    def size(self, query_s: float | None) -> int:
        """Queries of a list's next piece; `query_s`: seconds a query of its last piece, None for a new list."""
        if query_s is None:
            return min(FIRST if self._is_quiet else 1, self.most)
        return min(max(int(self.bound_s / max(query_s, 1e-9)), 1), self.most)
