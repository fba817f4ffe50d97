"""Works on a stream of items at once and hands the results back in order, holding no more than a window of them.

Knows neither items nor work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_order(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], window: int
) -> AsyncGenerator[tuple[Item, Result], None]:
    """Each item with the result of `work` on it, at most `window` at work or waiting to be handed back.

    When `work` raises, no further item is begun, those at work come to their end, and the error is raised.
    """
    source = iter(items)
    at_work: deque[tuple[Item, asyncio.Future[Result]]] = deque()
    try:
        while True:
            while len(at_work) < window:
                try:
                    item = next(source)
                except StopIteration:
                    break
                at_work.append((item, asyncio.ensure_future(work(item))))
            if not at_work:
                return
            item, task = at_work[0]
            result = await task
            at_work.popleft()
            yield item, result
    finally:
        await asyncio.gather(*(task for _, task in at_work), return_exceptions=True)
