"""Load of an upstream, from 0 to 1: a smooth function of requests in flight, request and token rates, and latency.

It counts the requests of this process only, and knows neither addresses nor queries.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

USUAL_LIMITS = {"concurrency": 100.0, "latency_s": 30.0}
HALF_LIFE_ANSWERS = 8.0  # after so many responses an old latency counts half
FORGET_S = 60.0  # after so many seconds without a response the latency counts half


@dataclass
class Rate:
    """An amount per minute, with exponential decay."""

    _amount: float = 0.0
    _at: float = -math.inf

    def add(self, amount: float, now: float) -> None:
        """Add `amount` at time `now`, in seconds that never go back."""
        self._amount, self._at = self.at(now) + amount, now

    def at(self, now: float) -> float:
        """The amount per minute at time `now`."""
        return self._amount * math.exp((self._at - now) / 60.0) if self._amount else 0.0


@dataclass
class Load:
    """The load of one upstream: requests in flight, rates of requests and tokens, latency of responses.

    With x the used share of a limit and s the sum of x² over `limits`, the load is s / (1 + s).
    """

    limits: Mapping[str, float]
    clock: Callable[[], float] = time.monotonic
    in_flight: int = 0
    latency_s: float = 0.0  # a moving average
    _answered: float = -math.inf
    _requests: Rate = field(default_factory=Rate)
    _tokens: Rate = field(default_factory=Rate)

    def started(self) -> None:
        """Count a request that is sent."""
        self._requests.add(1.0, self.clock())
        self.in_flight += 1

    def spent(self, tokens: int) -> None:
        """Count the tokens of a response, prompt included."""
        self._tokens.add(tokens, self.clock())

    def ended(self, latency_s: float | None = None) -> None:
        """Count the end of a request; `latency_s` until its response began, None if there was none."""
        self.in_flight -= 1
        if latency_s is not None:
            self.began(latency_s)

    def began(self, latency_s: float) -> None:
        """Count the latency of a response that has begun and goes on."""
        old = self.latency() if self._answered > -math.inf else latency_s
        self.latency_s = latency_s + (old - latency_s) * 0.5 ** (1 / HALF_LIFE_ANSWERS)
        self._answered = self.clock()

    def latency(self) -> float:
        """Recent seconds until a response begins, with exponential decay."""
        return self.latency_s * 0.5 ** (max(self.clock() - self._answered, 0.0) / FORGET_S) if self.latency_s else 0.0

    def pressure(self) -> float:
        """The load, from 0 (idle and quick) towards 1."""
        limits = {**USUAL_LIMITS, **self.limits}
        used = [self.in_flight / limits["concurrency"], self.latency() / limits["latency_s"]]
        for name, rate in (("requests_per_minute", self._requests), ("tokens_per_minute", self._tokens)):
            if name in limits:
                used.append(rate.at(self.clock()) / limits[name])
        square = sum(x * x for x in used)
        return square / (1.0 + square)
