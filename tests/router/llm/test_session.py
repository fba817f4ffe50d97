"""Results in order from a bounded window."""

from __future__ import annotations

import asyncio

import pytest

from router.llm.session import in_order


def test_results_come_in_order_with_a_bounded_window_and_an_error_waits_for_those_at_work() -> None:
    begun: list[int] = []
    done: list[int] = []

    async def work(item: int) -> int:
        begun.append(item)
        await asyncio.sleep(0.02 if item % 3 == 0 else 0.001)
        if item == 20:
            raise ValueError("twenty")
        done.append(item)
        return item * 10

    async def main() -> list[tuple[int, int]]:
        seen = []
        with pytest.raises(ValueError, match="twenty"):
            async for item, result in in_order(iter(range(1000)), work, window=4):
                seen.append((item, result))
                assert len(begun) - len(seen) <= 4
        return seen

    assert asyncio.run(main()) == [(item, item * 10) for item in range(20)]
    assert sorted(done) == [0, *range(1, 20), *(each for each in begun if each > 20)]
