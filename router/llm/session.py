"""Runs a job that asks: opens the store, shows progress, and ends in order when it is interrupted.

The first Ctrl-C (or SIGTERM) sends nothing more and keeps what is under way, the second one breaks off.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from router.errors import RouterError, StoppedError
from router.llm.client import Client
from router.llm.store import Store

Result = TypeVar("Result")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_session(cache: Path, cap_usd: float | None, job: Callable[[Client], Awaitable[Result]]) -> Result:
    """What `job` returns. Raises what stopped it: UsageError, or KeyboardInterrupt for a signal."""
    with Store(cache) as store:
        if store.lost:
            print(
                f"{store.lost} requests were under way when an earlier run ended: their answers are asked for again, "
                "and they count at the most they can have cost",
                file=sys.stderr,
            )
        return asyncio.run(_run(store, cap_usd, job))


async def _run(store: Store, cap_usd: float | None, job: Callable[[Client], Awaitable[Result]]) -> Result:
    loop = asyncio.get_running_loop()
    async with Client(store, cap_usd) as client:

        def interrupt() -> None:
            for each in SIGNALS:
                loop.remove_signal_handler(each)
            print("\nstopping: waiting for the answers under way (again to break off)", file=sys.stderr)
            client.stop(KeyboardInterrupt())

        for each in SIGNALS:
            loop.add_signal_handler(each, interrupt)
        try:
            return await job(client)
        except StoppedError as error:
            raise client.fatal or error from error
        finally:
            for each in SIGNALS:
                loop.remove_signal_handler(each)


def progress(total: int, unit: str, quiet: bool) -> tqdm:
    """A bar on stderr, where that is a terminal."""
    return tqdm(total=total, unit=unit, disable=quiet or not sys.stderr.isatty(), smoothing=0.05, dynamic_ncols=True)


def show(bar: tqdm, client: Client) -> None:
    """Move the bar by one and say what was spent."""
    bar.set_postfix_str(f"${client.purse.spent_usd:.4f}, {client.tally.cached:,} from cache", refresh=False)
    bar.update()


def closing_line(client: Client, cache: Path) -> str:
    """What the run did, for the end."""
    tally = client.tally
    return (
        f"{tally.sent:,} requests, {tally.answered:,} answers and {tally.cached:,} from the cache; "
        f"${tally.spent_usd:.4f} spent, ${client.purse.spent_usd:.4f} with earlier runs ({cache})"
    )


def exit_code(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """What `run` returns; 1 after an error of ours and 130 after an interrupt, each told in one line."""
    try:
        return run(options)
    except RouterError as error:
        print(f"train: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train: interrupted; what was answered is kept, run the same command again", file=sys.stderr)
        return 130
