"""A circuit breaker for one upstream: closed, open after failures, half open for one probe. Pure but for a clock.

    closed     everything passes; opens after `failures` in a row, or where half of the last 20 failed
    open       nothing passes for `open_s`, doubled after each probe that fails, at most `MAX_OPEN_S`; or for as long as
               an upstream asked with Retry-After
    half_open  the time is over: one request passes as a probe. Its success closes, its failure opens again

Knows no upstream; a stream counts when it has ended. A breaker is one process' own: replicas learn each for itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

MAX_OPEN_S = 60.0
WINDOW = 20  # the latest answers that are looked at
CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


class Breaker:
    """Whether an upstream may be asked now.

    Args:
        failures: failures in a row that open it.
        open_s: seconds until the first probe.
        clock: monotonic seconds.
    """

    def __init__(self, failures: int = 5, open_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures, self.open_s, self.clock = failures, open_s, clock
        self._in_row = 0
        self._window: deque[bool] = deque(maxlen=WINDOW)
        self._opened = 0  # times in a row that a probe failed, and one
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
        return self.state == CLOSED or (self.state == HALF_OPEN and not self._probing)

    def enter(self) -> bool:
        """To be called as a request is sent, and followed by one of the three below; whether it is a probe."""
        probe = self.state == HALF_OPEN and not self._probing
        self._probing = self._probing or probe
        return probe

    def succeeded(self, probe: bool = False) -> None:
        """It answered, if only with an error that is the client's."""
        self._in_row = 0
        self._window.append(True)
        if probe:
            self._until, self._opened, self._probing = None, 0, False
            self._window.clear()

    def failed(self, probe: bool = False, retry_after_s: float | None = None) -> None:
        """It did not answer as it should; `retry_after_s` where it said when to come again."""
        self._in_row += 1
        self._window.append(False)
        lost = self._window.count(False) * 2 >= WINDOW and len(self._window) == WINDOW
        if retry_after_s is not None:
            self._open(retry_after_s)
        elif probe or (self._until is None and (self._in_row >= self.failures or lost)):
            self._open(min(self.open_s * 2**self._opened, MAX_OPEN_S))
        if probe:
            self._probing = False

    def left(self, probe: bool = False) -> None:
        """Whoever asked went away before it answered: nothing is learnt."""
        if probe:
            self._probing = False

    def _open(self, seconds: float) -> None:
        self._until = max(self._until or 0.0, self.clock() + seconds)
        self._opened = min(self._opened + 1, 16)
        self._window.clear()
        self._in_row = 0
