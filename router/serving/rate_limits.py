"""How many requests a client key may make: a token bucket for each, as full as one minute's allowance.

Knows neither HTTP nor where keys come from. Of one thread; per process, so that N replicas admit N times as much.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from router.serving.client_keys import Key

PRUNE_FROM = 1024  # buckets


class RateLimits:
    """One bucket a key, kept as the time at which it is full again (GCRA, the generic cell rate algorithm)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds, never going back."""
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._prune_at = PRUNE_FROM

    def admit(self, key: Key, requests: int = 1, paid: int = 0) -> float | None:
        """None, and as many tokens less, where so many requests may pass; else the seconds until they may.

        A key that rested may make a minute's requests at once, then one each 60 / requests_per_minute seconds. More
        than a minute's never pass. `paid` of them were admitted before, and are given back where not all may pass.
        """
        if key.requests_per_minute is None:
            return None
        now, each_s = self._clock(), 60 / key.requests_per_minute
        full_at = max(self._full_at.get(key.id, now), now) + (requests - paid) * each_s
        early = full_at - (now + 60)
        if early > 1e-9:  # of rounding
            self._full_at[key.id] = full_at - requests * each_s
            return early
        self._full_at[key.id] = full_at
        if len(self._full_at) > self._prune_at:
            self._prune(now)
        return None

    def _prune(self, now: float) -> None:
        """Forget full buckets: a key without one has the same rights. So there are no more than busy keys, twice."""
        self._full_at = {key_id: full_at for key_id, full_at in self._full_at.items() if full_at > now}
        self._prune_at = max(PRUNE_FROM, 2 * len(self._full_at))
