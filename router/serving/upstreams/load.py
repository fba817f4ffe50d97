"""What load takes from an upstream's utility: smoothly more, the slower it answers and the more it is asked at once.

Of one process' own requests. Knows neither upstreams' addresses nor what they are asked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

USUAL_LIMITS = {"concurrency": 100.0, "latency_s": 30.0}
HALF_LIFE_ANSWERS = 8.0  # after so many answers an old latency counts half
FORGET_S = 60.0  # and after so many seconds without any


@dataclass
class Rate:
    """How much came in the last minute, older amounts fading."""

    _amount: float = 0.0
    _at: float = -math.inf

    def add(self, amount: float, now: float) -> None:
        """`amount` comes at `now`, in seconds that never go back."""
        self._amount, self._at = self.at(now) + amount, now

    def at(self, now: float) -> float:
        """The amount a minute as of `now`."""
        return self._amount * math.exp((self._at - now) / 60.0) if self._amount else 0.0


@dataclass
class Load:
    """One upstream's requests in flight, their rate and their tokens', and how long answers took to begin.

    `limits` say what is much: each counts x² / (1 + x²), x being the share of the limit that is used.
    """

    limits: Mapping[str, float]
    clock: Callable[[], float] = time.monotonic
    in_flight: int = 0
    latency_s: float = 0.0  # a mean, the latest answers counting most
    _answered: float = -math.inf
    _requests: Rate = field(default_factory=Rate)
    _tokens: Rate = field(default_factory=Rate)

    def started(self) -> None:
        """A request is sent."""
        self._requests.add(1.0, self.clock())
        self.in_flight += 1

    def spent(self, tokens: int) -> None:
        """An answer turned out to count so many tokens, its prompt's included."""
        self._tokens.add(tokens, self.clock())

    def ended(self, latency_s: float | None = None) -> None:
        """It is over; `latency_s` until its answer began, None where there was none."""
        self.in_flight -= 1
        if latency_s is not None:
            self.began(latency_s)

    def began(self, latency_s: float) -> None:
        """Its answer began after `latency_s`, and goes on."""
        old = self.latency() if self._answered > -math.inf else latency_s
        self.latency_s = latency_s + (old - latency_s) * 0.5 ** (1 / HALF_LIFE_ANSWERS)
        self._answered = self.clock()

    def latency(self) -> float:
        """Seconds until an answer begins, as far as is remembered."""
        return self.latency_s * 0.5 ** (max(self.clock() - self._answered, 0.0) / FORGET_S) if self.latency_s else 0.0

    def pressure(self) -> float:
        """From 0, idle and quick, towards 1."""
        limits = {**USUAL_LIMITS, **self.limits}
        used = [self.in_flight / limits["concurrency"], self.latency() / limits["latency_s"]]
        for name, rate in (("requests_per_minute", self._requests), ("tokens_per_minute", self._tokens)):
            if name in limits:
                used.append(rate.at(self.clock()) / limits[name])
        square = sum(x * x for x in used)
        return square / (1.0 + square)
