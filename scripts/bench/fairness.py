"""Latency of a lone decision beside batches, on loopback: `python scripts/bench/fairness.py [--against DIR]`.

Starts the gateway as a decision service. Measures lone `/v1/route` requests on an idle gateway, then beside batches of
`/v1/route/batch`, then one batch alone; with --against in turns with the gateway of DIR, another checkout. Each query
is fresh. Prints Markdown, or JSON with --json.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import httpx
from servers import WORDS, gateway
from timing import CHECKPOINT, REPOSITORY, environment, in_words, table

DRAW = random.Random(1)
PAUSE_S = 0.02  # between two lone decisions, at most twice that


def query() -> str:
    """A text of 10 to 90 words, each about a token."""
    return " ".join(DRAW.choices(WORDS, k=DRAW.randint(10, 90)))


async def ask(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> float:
    """Milliseconds of an answer."""
    started = time.perf_counter()
    answer = await client.post(path, json=body)
    if answer.status_code != 200:
        raise SystemExit(f"fairness: error: {path} answered {answer.status_code}: {answer.text[:200]}")
    return 1e3 * (time.perf_counter() - started)


async def lone(client: httpx.AsyncClient, count: int) -> list[float]:
    """Times of single decisions, one after the other with pauses."""
    times = []
    for _ in range(count):
        times.append(await ask(client, "/v1/route", {"query": query()}))
        await asyncio.sleep(DRAW.uniform(0, 2 * PAUSE_S))
    return times


async def batch(client: httpx.AsyncClient, size: int) -> float:
    """Queries a second of one batch."""
    return 1e3 * size / await ask(client, "/v1/route/batch", {"queries": [query() for _ in range(size)]})


async def beside(client: httpx.AsyncClient, args: argparse.Namespace) -> list[float]:
    """Times of single decisions while `args.batches` batches are under way."""
    stop = asyncio.Event()

    async def again() -> None:
        while not stop.is_set():
            await batch(client, args.size)

    batches = [asyncio.create_task(again()) for _ in range(args.batches)]
    await asyncio.sleep(1)
    times = await lone(client, args.lone)
    for each in batches:
        each.cancel()
    await asyncio.gather(*batches, return_exceptions=True)
    return times


async def measure(ports: dict[str, int], args: argparse.Namespace) -> dict[str, Any]:
    """Times of lone decisions here, idle and beside batches, then queries a second of one batch by each gateway."""
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False)
            )
            for name, port in ports.items()
        }
        await lone(clients["here"], 10)
        found = {"idle": await lone(clients["here"], args.lone), "beside": await beside(clients["here"], args)}
        rates: dict[str, list[float]] = {name: [] for name in ports}
        for _ in range(args.rounds + 1):
            for name, client in clients.items():
                rates[name].append(await batch(client, args.size))
        return found | {"queries_per_s": {name: each[1:] for name, each in rates.items()}}  # the first warms up


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    trees = {"here": REPOSITORY} | ({"against": args.against} if args.against else {})
    with ExitStack() as stack:
        flags = ["--checkpoint", str(args.checkpoint)]
        servers = {name: gateway(flags, PYTHONPATH=str(tree)) for name, tree in trees.items()}
        return asyncio.run(measure({name: stack.enter_context(each)[0] for name, each in servers.items()}, args))


def report(found: dict[str, Any], args: argparse.Namespace) -> str:
    """All figures in Markdown."""
    p50 = statistics.median(found["idle"])
    head = (f"{args.lone} lone decisions", "p50 ms", "p95 ms", "longest ms", "p95 of the idle p50")
    rows = []
    for name, title in (("idle", "idle"), ("beside", f"beside {args.batches} batches of {args.size:,}")):
        times = sorted(found[name])
        p95 = times[int(0.95 * len(times))]
        rows.append((title, *(f"{each:.1f}" for each in (statistics.median(times), p95, times[-1], p95 / p50))))
    rates = {name: statistics.median(each) for name, each in found["queries_per_s"].items()}
    last = f"One batch of {args.size:,} alone: {rates['here']:.0f} queries/s"
    if args.against:
        last += f", {rates['here'] / rates['against']:.2f} of the other checkout's {rates['against']:.0f}"
    return "\n\n".join([in_words(environment()), table(head, rows), f"{last}."])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--checkpoint", type=Path, default=Path(CHECKPOINT))
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout, whose throughput is compared")
    parser.add_argument("--lone", type=int, default=200, help="decisions, idle and beside batches")
    parser.add_argument("--batches", type=int, default=4, help="under way at the same time")
    parser.add_argument("--size", type=int, default=1000, help="queries of a batch")
    parser.add_argument("--rounds", type=int, default=3, help="batches alone, of each checkout")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = bench(args)
    print(json.dumps(found) if args.json else report(found, args))


if __name__ == "__main__":
    main()
