"""Rate limits and spending cap: when the next request may be sent, and whether its cost still fits under the cap.

Knows time, tokens and USD; it does not know what is sent.
"""

import asyncio
from collections.abc import Mapping

from router.errors import CapReachedError

MINUTE_S = 60.0


class Pace:
    """Rate limiter of one endpoint. It spreads requests evenly over a minute instead of sending them in bursts."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        requests, tokens = limits.get("requests_per_minute"), limits.get("tokens_per_minute")
        self.s_per_request = MINUTE_S / requests if requests else 0.0
        self.s_per_token = MINUTE_S / tokens if tokens else 0.0
        self.free_at = 0.0  # loop time at which the next request may be sent
        self.paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """Hold all requests for so long, because the endpoint asked for a pause."""
        self.paused_until = max(self.paused_until, asyncio.get_running_loop().time() + seconds)

    async def turn(self, tokens: float) -> None:
        """Wait until a request that uses `tokens` of the limit may be sent."""
        clock = asyncio.get_running_loop().time
        start = max(self.free_at, clock())
        self.free_at = start + max(self.s_per_request, tokens * self.s_per_token)
        while (wait := max(start, self.paused_until) - clock()) > 0:
            await asyncio.sleep(wait)


class SpendingCap:
    """Spending cap in USD: the most that a request can cost is reserved before it is sent, the rest is released after.

    So the sum of what is spent and what is reserved never exceeds the cap.
    """

    def __init__(self, cap_usd: float | None, spent_usd: float) -> None:
        """`cap_usd` None: no cap. `spent_usd`: what earlier runs spent, which counts."""
        self.cap_usd, self.spent_usd, self.reserved_usd = cap_usd, spent_usd, 0.0
        self.under_way = 0
        self.changed = asyncio.Condition()

    async def reserve(self, most_usd: float) -> None:
        """Reserve `most_usd`, after waiting for requests under way if need be. Raises CapReachedError."""
        async with self.changed:
            while self.cap_usd is not None and self.spent_usd + self.reserved_usd + most_usd > self.cap_usd:
                if not self.under_way:
                    raise CapReachedError(
                        f"the spending cap of ${self.cap_usd:g} is reached: ${self.spent_usd:.4f} are spent and the "
                        f"next request may cost ${most_usd:.4f}. Answers are kept; raise --max-usd and run the same "
                        "command again, nothing is paid twice"
                    )
                await self.changed.wait()
            self.reserved_usd += most_usd
            self.under_way += 1

    async def settle(self, most_usd: float, usd: float) -> None:
        """Release what was reserved, and count what the request cost."""
        async with self.changed:
            self.under_way -= 1
            self.reserved_usd = self.reserved_usd - most_usd if self.under_way else 0.0
            self.spent_usd += usd
            self.changed.notify_all()
