"""How near the encoder comes to a processor's peak: `python scripts/bench_encoder.py --device cuda --peak-tflops 989`.

The bare forward of the checkpoint's encoder by torch in bfloat16 or float32, eagerly and compiled (`torch.compile`,
with CUDA graphs on a GPU), on batches of texts of one length. Operations are those of the matrix products; of the H100
and H200 989 TFLOP/s is the dense peak in bfloat16. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from router.encoder import QueryEncoder

REPOSITORY = Path(__file__).resolve().parents[1]
WARM_UP = 5


def operations(config: dict[str, Any], layers: int, batch: int, tokens: int) -> float:
    """Floating-point operations of one forward: two for each multiplication of a matrix product.

    >>> operations({"hidden_size": 2, "intermediate_size": 3}, layers=1, batch=1, tokens=1)
    64.0
    """
    size, inner = config["hidden_size"], config["intermediate_size"]
    per_token = 2 * (4 * size * size + 2 * size * inner) + 4 * tokens * size
    return float(layers * batch * tokens * per_token)


def seconds(run: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Of each repeat after WARM_UP ones, the device's work included."""
    times = []
    for number in range(WARM_UP + repeats):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= WARM_UP:
            times.append(time.perf_counter() - start)
    return times


@torch.inference_mode()
def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each batch size, precision, and way to run."""
    device = torch.device(options.device)
    settings = json.loads((Path(options.checkpoint) / "config.json").read_text(encoding="utf-8"))["encoder"]
    encoder = QueryEncoder.from_pretrained(Path(options.checkpoint) / "encoder", **settings).to(device).eval()
    ways: dict[str, Callable[..., object]] = {"eager": encoder}
    if options.compile:
        mode = "reduce-overhead" if device.type == "cuda" else "default"
        ways["compiled"] = torch.compile(encoder, mode=mode)
    vocabulary = int(encoder.described.config["vocab_size"])
    rows = []
    for batch in options.batches:
        ids = torch.randint(1000 % vocabulary, vocabulary, (batch, options.tokens), device=device)
        inputs = ids, torch.ones_like(ids)
        work = operations(encoder.described.config, encoder.depth, batch, options.tokens)
        for precision in options.precisions:
            for name, run in ways.items():
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                    times = seconds(partial(run, *inputs), device, options.repeats)
                about = {"batch": batch, "tokens": options.tokens, "precision": precision, "run": name}
                rows.append(about | figures(times, work, batch, options.peak_tflops))
    return rows


def figures(times: Sequence[float], work: float, batch: int, peak_tflops: float | None) -> dict[str, float | None]:
    """Medians and spread of `times` in seconds, each for `work` operations on `batch` texts.

    >>> figures([1.0, 2.0, 4.0], work=4e12, batch=6, peak_tflops=8.0)["of_peak"]
    0.25
    """
    low, middle, high = np.quantile(times, [0.1, 0.5, 0.9]).tolist()
    rate = work / middle / 1e12
    return {
        "ms": 1e3 * middle,
        "p10": 1e3 * low,
        "p90": 1e3 * high,
        "texts_per_s": batch / middle,
        "tflops": rate,
        "of_peak": rate / peak_tflops if peak_tflops else None,
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default=str(REPOSITORY / "checkpoints" / "routemix"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--precisions", nargs="+", choices=("bf16", "fp32"), default=["bf16", "fp32"])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--compile", action="store_true", help="also compiled")
    parser.add_argument("--peak-tflops", type=float, help="the processor's peak in the precision measured")
    options = parser.parse_args()
    gpu = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else None
    about = {"gpu": gpu, "threads": torch.get_num_threads(), "torch": torch.__version__}
    rows = measure(options)
    print(json.dumps(about | {"python": platform.python_version(), "peak_tflops": options.peak_tflops, "rows": rows}))


if __name__ == "__main__":
    main()
