"""Circuit breaker for one upstream: closed, open after failures, half open for one probe. Pure except for a clock.

    closed     all requests pass; it opens after `failures` in a row, or if half of the last 20 failed
    open       no request passes for `open_s`, doubled after each failed probe up to `MAX_OPEN_S`, or for the time of
               an upstream's Retry-After
    half_open  the time is over: one request passes as a probe; its success closes the breaker, its failure opens it

Requests for a model that the client named are counted apart and are never probes: their successes must not offset
failures of routed requests, nor the reverse. A stream counts at its end. Replicas do not share breakers.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_OPEN_S = 60.0
WINDOW = 20  # latest requests that count
CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


@dataclass
class _Tally:
    """The results of the latest requests of one kind."""

    in_row: int = 0  # failures
    window: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, well: bool) -> None:
        self.in_row = 0 if well else self.in_row + 1
        self.window.append(well)

    def opens(self, failures: int) -> bool:
        lost = self.window.count(False) * 2 >= WINDOW and len(self.window) == WINDOW
        return self.in_row >= failures or lost


class Breaker:
    """A circuit breaker: whether a request may be sent to an upstream now.

    Args:
        failures: failures in a row that open the breaker.
        open_s: seconds until the first probe.
        clock: monotonic seconds.
    """

    def __init__(self, failures: int = 5, open_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures, self.open_s, self.clock = failures, open_s, clock
        self._tallies = (_Tally(), _Tally())  # of routed requests; of requests passed on
        self._growth = 1.0  # factor of the wait, doubled at each opening until a probe succeeds
        self._until: float | None = None  # open until then; None: closed
        self._probing = False

    @property
    def state(self) -> str:
        """closed, open or half_open."""
        if self._until is None:
            return CLOSED
        return OPEN if self.clock() < self._until else HALF_OPEN

    @property
    def wait_s(self) -> float:
        """Seconds until a request may pass; 0 if one may pass now."""
        if self._until is None:
            return 0.0
        left = max(self._until - self.clock(), 0.0)
        return left or (self.open_s if self._probing else 0.0)

    def admits(self) -> bool:
        """Whether a request may be sent now; a half-open breaker admits requests until one is its probe."""
        return not self.wait_s

    def enter(self) -> bool:
        """Whether the request that is now sent is a probe; call `succeeded`, `failed` or `left` afterwards."""
        probe = self.state == HALF_OPEN and not self._probing
        self._probing = self._probing or probe
        return probe

    def succeeded(self, probe: bool = False, *, passed_on: bool = False) -> None:
        """Count a request that was answered, possibly with an error of the client."""
        self._tallies[passed_on].add(True)
        if probe:
            self._until, self._growth, self._probing = None, 1.0, False
            self._tallies = (_Tally(), _Tally())

    def failed(self, probe: bool = False, retry_after_s: float | None = None, *, passed_on: bool = False) -> None:
        """Count a failed request; `retry_after_s` is the upstream's Retry-After, if any."""
        self._tallies[passed_on].add(False)
        if retry_after_s is not None:
            self._open(retry_after_s)
        elif probe or (self._until is None and self._tallies[passed_on].opens(self.failures)):
            self._open(min(self.open_s * self._growth, MAX_OPEN_S))
        if probe:
            self._probing = False

    def left(self, probe: bool = False) -> None:
        """End a request that says nothing: the client went away, or its request may be at fault."""
        if probe:
            self._probing = False

    def _open(self, seconds: float) -> None:
        until = self.clock() + seconds
        self._until = until if self._until is None else max(self._until, until)
        self._growth *= 2
