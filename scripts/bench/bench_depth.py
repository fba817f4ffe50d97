"""How fast the encoder is when only its first layers are computed: `python scripts/bench/bench_depth.py`.

The bare forward by onnxruntime for the sets of layers of configs/sweeps/layers.yaml, in turns, on one text of each
length. Prints a Markdown table: milliseconds, and how many times as fast as the last set.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from router.encoding.onnx_encoder import OnnxEncoder

REPOSITORY = Path(__file__).resolve().parents[2]
LAYERS = ((0,), (0, 1), (0, 2), (2, 4), (2, 4, 6))
ROUNDS, REPEATS = 6, 30  # the first round warms up


def timed(run: Callable[[], object]) -> float:
    """Median milliseconds of REPEATS runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", default=str(REPOSITORY / "checkpoints" / "routemix"))
    parser.add_argument("--lengths", type=int, nargs="+", default=[8, 32, 128], help="tokens (default: %(default)s)")
    options = parser.parse_args()
    folder = Path(options.checkpoint)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))["encoder"]
    encoders = [OnnxEncoder.from_pretrained(folder / "encoder", **{**settings, "layers": each}) for each in LAYERS]
    found = np.zeros((ROUNDS, len(LAYERS), len(options.lengths)))
    for turn in range(ROUNDS):
        for column, tokens in enumerate(options.lengths):
            ids = np.full((1, tokens), 2000, np.int64)
            for row, encoder in enumerate(encoders):
                found[turn, row, column] = timed(lambda e=encoder, i=ids: e.forward(i, np.ones_like(i)))  # type: ignore[misc]
    median = np.median(found[1:], axis=0)
    print("| layers | " + " | ".join(f"{tokens} tokens, ms | ×" for tokens in options.lengths) + " |")
    print("|---" * (1 + 2 * len(options.lengths)) + "|")
    for layers, times in zip(LAYERS, median, strict=True):
        cells = [f"{ms:.2f} | {last / ms:.1f}" for ms, last in zip(times, median[-1], strict=True)]
        print(f"| {', '.join(map(str, layers))} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
