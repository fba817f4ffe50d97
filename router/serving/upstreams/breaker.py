"""A circuit breaker for one upstream: closed, open after failures, half open for one probe. Pure but for a clock.

    closed     everything passes; opens after `failures` in a row, or where half of the last 20 failed
    open       nothing passes for `open_s`, doubled after each probe that fails, at most `MAX_OPEN_S`; or for as long as
               an upstream asked with Retry-After
    half_open  the time is over: one request passes as a probe. Its success closes, its failure opens again

Requests that a client had passed on are counted apart, so that they neither make up for failures of routed ones nor
hide among them; none is a probe. A stream counts when it has ended. Knows no upstream. A breaker is one process' own:
replicas learn each for itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_OPEN_S = 60.0
WINDOW = 20  # the latest answers that are looked at
CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


@dataclass
class _Tally:
    """How the latest requests of one kind ended."""

    in_row: int = 0  # failures
    window: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, well: bool) -> None:
        self.in_row = 0 if well else self.in_row + 1
        self.window.append(well)

    def opens(self, failures: int) -> bool:
        lost = self.window.count(False) * 2 >= WINDOW and len(self.window) == WINDOW
        return self.in_row >= failures or lost


class Breaker:
    """Whether an upstream may be asked now.

    Args:
        failures: failures in a row that open it.
        open_s: seconds until the first probe.
        clock: monotonic seconds.
    """

    def __init__(self, failures: int = 5, open_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures, self.open_s, self.clock = failures, open_s, clock
        self._tallies = (_Tally(), _Tally())  # of routed requests, of those passed on
        self._growth = 1.0  # of the wait: doubled each time it opens, until a probe succeeds
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
        """Seconds until a request may pass; 0 where one may now."""
        if self._until is None:
            return 0.0
        left = max(self._until - self.clock(), 0.0)
        return left or (self.open_s if self._probing else 0.0)

    def admits(self) -> bool:
        """Whether a request may be sent now; of a half open breaker only until somebody has `entered`."""
        return not self.wait_s

    def enter(self) -> bool:
        """To be called as a request is sent, and followed by one of the three below; whether it is a probe."""
        probe = self.state == HALF_OPEN and not self._probing
        self._probing = self._probing or probe
        return probe

    def succeeded(self, probe: bool = False, *, passed_on: bool = False) -> None:
        """It answered, if only with an error that is the client's."""
        self._tallies[passed_on].add(True)
        if probe:
            self._until, self._growth, self._probing = None, 1.0, False
            self._tallies = (_Tally(), _Tally())

    def failed(self, probe: bool = False, retry_after_s: float | None = None, *, passed_on: bool = False) -> None:
        """It did not answer as it should; `retry_after_s` where it said when to come again."""
        self._tallies[passed_on].add(False)
        if retry_after_s is not None:
            self._open(retry_after_s)
        elif probe or (self._until is None and self._tallies[passed_on].opens(self.failures)):
            self._open(min(self.open_s * self._growth, MAX_OPEN_S))
        if probe:
            self._probing = False

    def left(self, probe: bool = False) -> None:
        """Nothing is learnt: whoever asked went away, or what was passed on may be at fault."""
        if probe:
            self._probing = False

    def _open(self, seconds: float) -> None:
        until = self.clock() + seconds
        self._until = until if self._until is None else max(self._until, until)
        self._growth *= 2
