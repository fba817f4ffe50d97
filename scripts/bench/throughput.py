"""Throughput of the batch path in queries a second, by batch size and number of batches read together.

Compares in interleaved rounds, by medians with their spread: `Router.route` on windows of some batches, tokenisation
and encoder alone on the same windows (the limit), and tokenisation by itself. Queries are generated texts.

    python scripts/bench/throughput.py [--queries 512] [--rounds 5] [--device cpu] [--backend auto] [--settings 32x16]
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from timing import CHECKPOINT, environment, seconds, table

from router import Router

WORDS = "what is the integral proof contract python function energy of and a liability cell market theorem list".split()
SETTINGS = ("8x1", "32x1", "32x4", "32x16", "64x8")  # batch size, batches read together
COLUMNS = "batch|read together|queries/s (spread)|bare encoder's|share of it|tokenisation's share".split("|")


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of log-normal length: a median of 60 words, one in ten beyond 200."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(np.exp(generator.normal(np.log(60), 0.95, count)), 3, 400).astype(int)
    return [" ".join(generator.choice(WORDS, n)) for n in lengths]


def windows(queries: Sequence[str], size: int) -> list[list[str]]:
    """Consecutive parts of at most `size`."""
    return [list(queries[start : start + size]) for start in range(0, len(queries), size)]


def setting(text: str) -> tuple[int, int]:
    """Batch size and batches read together.

    >>> setting("256x16")
    (256, 16)
    """
    batch, _, ahead = text.partition("x")
    return int(batch), int(ahead)


def measure(
    router: Router, queries: Sequence[str], rounds: int, settings: Sequence[tuple[int, int]]
) -> list[dict[str, float]]:
    """One row per setting: queries per second of router and bare encoder, their ratio, tokenisation's share of time."""
    found: dict[tuple[int, int], list[tuple[float, ...]]] = {each: [] for each in settings}
    for turn in range(rounds + 1):  # the first warms up
        for batch, ahead in settings:
            parts = windows(queries, batch * ahead)
            runs: tuple[Callable[[list[str]], object], ...] = (
                partial(router.route, batch_size=batch),
                partial(router.encoder.encode, batch_size=batch),
                router.encoder.tokenize,
            )
            times = tuple(sum(seconds(partial(run, part), router.device) for part in parts) for run in runs)
            if turn:
                found[batch, ahead].append(times)
    rows = []
    for (batch, ahead), taken in found.items():
        routed = sorted(len(queries) / whole for whole, _, _ in taken)
        rows.append({
            "batch_size": batch, "together": batch * ahead, "per_second": statistics.median(routed),
            "slowest": routed[0], "fastest": routed[-1],
            "encoder_per_second": statistics.median(len(queries) / bare for _, bare, _ in taken),
            "share_of_encoder": statistics.median(bare / whole for whole, bare, _ in taken),
            "share_of_tokenisation": statistics.median(reading / whole for whole, _, reading in taken),
        })  # fmt: skip
    return rows


def main() -> int:
    """Print a JSON object and, on stderr, a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backend", default="auto")
    shape = "batch size x batches read together, such as 256x16"
    parser.add_argument("--settings", type=setting, nargs="+", default=[setting(each) for each in SETTINGS], help=shape)
    options = parser.parse_args()
    router = Router.from_pretrained(options.checkpoint, device=options.device, backend=options.backend)
    rows = measure(router, texts(options.queries), options.rounds, options.settings)
    settings = {"threads": torch.get_num_threads(), "device": options.device, "backend": options.backend}
    machine = environment("torch", device=options.device) | settings
    print(json.dumps({"machine": machine, "queries": options.queries, "rows": rows}, indent=1))
    cells = []
    for row in rows:
        speed = f"{row['per_second']:.0f} ({row['slowest']:.0f} to {row['fastest']:.0f})"
        shares = f"{row['share_of_encoder']:.2f}", f"{row['share_of_tokenisation']:.2f}"
        cells.append((row["batch_size"], row["together"], speed, f"{row['encoder_per_second']:.0f}", *shares))
    print(table(COLUMNS, cells), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
