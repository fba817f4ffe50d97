"""How long a lone decision takes beside batches: `python scripts/bench/fairness.py [--against DIR]`, on loopback.

Starts the gateway with a checkpoint and its own pool, as a decision service. Measures lone `/v1/route` requests while
nothing else is asked, then beside batches of `/v1/route/batch`, then one batch alone; with --against also that of the
gateway in DIR, another checkout, in turns. Each query is fresh. Prints Markdown, or JSON with --json.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from gateway import REPOSITORY, WORDS, free_port, process

DRAW = random.Random(1)
PAUSE_S = 0.02  # between two lone decisions, at most twice that


def query() -> str:
    """A text of 10 to 90 words, each about a token."""
    return " ".join(DRAW.choices(WORDS, k=DRAW.randint(10, 90)))


@contextmanager
def gateway(checkout: Path, checkpoint: Path) -> Iterator[str]:
    """The address of the gateway of a checkout, which only decides."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool.json"
        pool.write_text(json.dumps(POOL))
        command = [sys.executable, "-m", "router.cli.main", "serve", str(pool), "--port", str(port)]
        environment = {"PYTHONPATH": str(checkout)}
        url = f"http://127.0.0.1:{port}"
        with process([*command, "--checkpoint", str(checkpoint)], f"{url}/health", **environment):
            yield url


POOL = {
    "name": "bench",
    "protocol": "chat-0shot-cot",
    "models": [
        {"id": "gpt-4o-2024-08-06", "input_usd_per_mtok": 2.5, "output_usd_per_mtok": 10.0},
        {"id": "gpt-4o-mini-2024-07-18", "input_usd_per_mtok": 0.15, "output_usd_per_mtok": 0.6},
        {"id": "Meta-Llama-3.1-70B-Instruct", "input_usd_per_mtok": 0.88, "output_usd_per_mtok": 0.88},
    ],
}


async def ask(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> float:
    """How many milliseconds an answer took."""
    started = time.perf_counter()
    answer = await client.post(path, json=body)
    if answer.status_code != 200:
        raise SystemExit(f"fairness: error: {path} answered {answer.status_code}: {answer.text[:200]}")
    return 1e3 * (time.perf_counter() - started)


async def lone(client: httpx.AsyncClient, count: int) -> list[float]:
    """The times of single decisions, one after the other with pauses."""
    times = []
    for _ in range(count):
        times.append(await ask(client, "/v1/route", {"query": query()}))
        await asyncio.sleep(DRAW.uniform(0, 2 * PAUSE_S))
    return times


async def batch(client: httpx.AsyncClient, size: int) -> float:
    """Queries a second of a batch."""
    return 1e3 * size / await ask(client, "/v1/route/batch", {"queries": [query() for _ in range(size)]})


async def beside(client: httpx.AsyncClient, args: argparse.Namespace) -> list[float]:
    """The times of single decisions, all of them while `args.batches` batches are under way."""
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


async def measure(url: str, args: argparse.Namespace) -> dict[str, list[float]]:
    """Times of lone decisions, idle and beside batches."""
    async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False) as client:
        await lone(client, 10)
        idle = await lone(client, args.lone)
        return {"idle": idle, "beside": await beside(client, args)}


async def alone(urls: dict[str, str], args: argparse.Namespace) -> dict[str, list[float]]:
    """Queries a second of one batch alone, of each gateway in turn."""
    found: dict[str, list[float]] = {name: [] for name in urls}
    for number in range(args.rounds + 1):
        for name, url in urls.items():
            async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False) as client:
                rate = await batch(client, args.size)
            if number:  # the first warms up
                found[name].append(rate)
    return found


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """All that is measured."""
    with gateway(REPOSITORY, args.checkpoint) as url:
        found: dict[str, Any] = asyncio.run(measure(url, args))
    with gateway(REPOSITORY, args.checkpoint) as ours, gateway(args.against or REPOSITORY, args.checkpoint) as theirs:
        urls = {"here": ours} | ({"against": theirs} if args.against else {})
        return found | {"queries_per_s": asyncio.run(alone(urls, args))}


def report(found: dict[str, Any], args: argparse.Namespace) -> str:
    """What was measured, in Markdown."""
    p50 = statistics.median(found["idle"])
    lines = [
        f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}",
        "",
        f"| {args.lone} lone decisions | p50 ms | p95 ms | longest ms | p95 of the idle p50 |",
        "|---|---|---|---|---|",
    ]
    for name, told in (("idle", "idle"), ("beside", f"beside {args.batches} batches of {args.size:,}")):
        times = sorted(found[name])
        p95 = times[int(0.95 * len(times))]
        lines.append(f"| {told} | {statistics.median(times):.1f} | {p95:.1f} | {times[-1]:.1f} | {p95 / p50:.1f} |")
    rates = {name: statistics.median(each) for name, each in found["queries_per_s"].items()}
    lines += ["", f"One batch of {args.size:,} alone: {rates['here']:.0f} queries/s"]
    if args.against:
        lines[-1] += f", {rates['here'] / rates['against']:.2f} of the other checkout's {rates['against']:.0f}"
    return "\n".join(lines) + "."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--checkpoint", type=Path, default=REPOSITORY / "checkpoints" / "routemix")
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
