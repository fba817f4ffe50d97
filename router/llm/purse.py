"""The spending cap: the most that a request can cost is set aside before it is sent, the rest comes back after.

So what is spent and what is under way never exceed the cap together. Knows amounts, not what they buy.
"""

from __future__ import annotations

import asyncio

from router.errors import CapReachedError


class Purse:
    """Money that may be spent; amounts in USD."""

    def __init__(self, cap_usd: float | None, spent_usd: float) -> None:
        """No cap (None) spends without end. `spent_usd` is what earlier runs spent, which counts."""
        self.cap_usd, self.spent_usd, self.reserved_usd = cap_usd, spent_usd, 0.0
        self.under_way = 0
        self.changed = asyncio.Condition()

    async def reserve(self, most_usd: float) -> None:
        """Set `most_usd` aside, after waiting for requests under way if need be. Raises CapReachedError."""
        async with self.changed:
            while self.cap_usd is not None and self.spent_usd + self.reserved_usd + most_usd > self.cap_usd:
                if not self.under_way:
                    raise CapReachedError(
                        f"the spending cap of ${self.cap_usd:g} is reached: ${self.spent_usd:.4f} are spent and the "
                        f"next request may cost ${most_usd:.4f}. What was answered is kept; raise --max-usd and run "
                        "the same command again, nothing is paid twice"
                    )
                await self.changed.wait()
            self.reserved_usd += most_usd
            self.under_way += 1

    async def settle(self, most_usd: float, usd: float) -> None:
        """Give back what was set aside, less what the request cost."""
        async with self.changed:
            self.under_way -= 1
            self.reserved_usd = self.reserved_usd - most_usd if self.under_way else 0.0
            self.spent_usd += usd
            self.changed.notify_all()
