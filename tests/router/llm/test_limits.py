"""Rate limits: requests spread over the minute."""

from __future__ import annotations

import asyncio

import pytest

from router.llm.limits import Pace


def test_requests_are_spread_over_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(asyncio.SelectorEventLoop):
        now = 0.0

        def time(self) -> float:
            return self.now

    clock = Clock()

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def main() -> None:
        pace = Pace({"requests_per_minute": 60 / 0.05})
        await asyncio.gather(*(pace.turn(1) for _ in range(5)))

    with asyncio.Runner(loop_factory=lambda: clock) as runner:
        runner.run(main())
    assert clock.now == pytest.approx(0.2)
