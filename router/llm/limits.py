"""When the next request to an endpoint may go: its limits per minute, and the pauses that it asked for.

Knows time, not what is sent. Requests are spread evenly over a minute instead of sent in bursts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

MINUTE_S = 60.0


class Pace:
    """Hands out turns. One for each endpoint."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        requests, tokens = limits.get("requests_per_minute"), limits.get("tokens_per_minute")
        self.s_per_request = MINUTE_S / requests if requests else 0.0
        self.s_per_token = MINUTE_S / tokens if tokens else 0.0
        self.free_at = 0.0  # loop time at which the next turn may be
        self.paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """Nobody gets a turn for so long: the endpoint said that it is asked too often."""
        self.paused_until = max(self.paused_until, asyncio.get_running_loop().time() + seconds)

    async def turn(self, tokens: float) -> None:
        """Wait for a turn that uses `tokens` of the limit."""
        clock = asyncio.get_running_loop().time
        start = max(self.free_at, clock())
        self.free_at = start + max(self.s_per_request, tokens * self.s_per_token)
        while (wait := max(start, self.paused_until) - clock()) > 0:
            await asyncio.sleep(wait)
