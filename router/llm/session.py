"""Session with the LLM client: opens the cache, shows progress, works through items in order, handles interrupts.

After the first Ctrl-C (or SIGTERM) no further request is sent and answers under way are kept; the second breaks off.
"""

import argparse
import asyncio
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from router.errors import RouterError, StoppedError
from router.llm.client import Client
from router.llm.store import Store

Item = TypeVar("Item")
Result = TypeVar("Result")
WINDOW = 4  # items at work or waiting for an earlier one, for each request that may be under way
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_session(
    options: argparse.Namespace, cache: Path, queries: int, job: Callable[[Client, tqdm], Awaitable[Result]]
) -> Result:
    """The result of `job`, with a progress bar over `queries` and a closing line on stderr.

    `options` are those of `add_llm_options`. Raises what stopped it: UsageError, or KeyboardInterrupt for a signal.
    """
    quiet = options.quiet or not sys.stderr.isatty()
    with Store(cache) as store:
        if store.lost:
            print(
                f"{store.lost} requests were under way when an earlier run ended: they are sent again, and count at "
                "the most they can have cost",
                file=sys.stderr,
            )
        with tqdm(total=queries, unit="query", disable=quiet, smoothing=0.05, dynamic_ncols=True) as bar:
            client = Client(store, options.max_usd)
            result = asyncio.run(_run(client, lambda: job(client, bar)))
        tally = client.tally
        print(
            f"{tally.sent:,} requests, {tally.answered:,} answers and {tally.cached:,} from the cache; "
            f"${tally.spent_usd:.4f} spent, ${client.cap.spent_usd:.4f} with earlier runs ({cache})",
            file=sys.stderr,
        )
        return result


async def _run(client: Client, job: Callable[[], Awaitable[Result]]) -> Result:
    loop = asyncio.get_running_loop()
    async with client:

        def interrupt() -> None:
            for each in SIGNALS:
                loop.remove_signal_handler(each)
            print("\nstopping: waiting for the answers under way (press again to break off)", file=sys.stderr)
            client.stop(KeyboardInterrupt())

        for each in SIGNALS:
            loop.add_signal_handler(each, interrupt)
        try:
            return await job()
        except StoppedError as error:
            raise client.fatal or error from error
        finally:
            for each in SIGNALS:
                loop.remove_signal_handler(each)


async def in_order(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], window: int
) -> AsyncGenerator[tuple[Item, Result], None]:
    """Each item with the result of `work` on it, in order; at most `window` items are at work or wait to be yielded.

    When `work` raises, no further item is begun; the error is raised after those at work have ended.
    """
    source = iter(items)
    at_work: deque[tuple[Item, asyncio.Future[Result]]] = deque()
    try:
        while True:
            for item in islice(source, window - len(at_work)):
                at_work.append((item, asyncio.ensure_future(work(item))))
            if not at_work:
                return
            item, task = at_work[0]
            result = await task
            at_work.popleft()
            yield item, result
    finally:
        await asyncio.gather(*(task for _, task in at_work), return_exceptions=True)


def show(bar: tqdm, client: Client) -> None:
    """Move the bar by one and show what was spent."""
    bar.set_postfix_str(f"${client.cap.spent_usd:.4f}, {client.tally.cached:,} from cache", refresh=False)
    bar.update()


def exit_code(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Exit code of `run`; 1 after an error of ours and 130 after an interrupt, each printed as one line."""
    try:
        return run(options)
    except RouterError as error:
        print(f"train: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train: interrupted; answers are kept, run the same command again", file=sys.stderr)
        return 130
