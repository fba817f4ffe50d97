"""Speed of the encoder against a GPU's roofline: `python scripts/bench/encoder.py --device cuda --peak-tflops 989`.

The bare forward of the checkpoint's encoder, token ids to embeddings, on batches of texts of one length: padded under
autocast (`eager`), packed in bfloat16 (`packed`, see `router.encoding.packed_bert`), with GELU within the product
before it (`packed, fused gelu`), and replayed as a CUDA graph (`graph`). Each way is first checked against the float32
module; one that fails or differs keeps its row, and the command ends with 1. Operations are those of the matrix
products. 989 TFLOP/s and 4.8 TB/s are from the H200's datasheet; the machine's own limits are measured beside them.
Prints JSON, and on stderr a Markdown table.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from timing import CHECKPOINT, environment, seconds, spread
from torch import Tensor
from torch.nn import functional as F

from router.encoding.packed_bert import Packed, PackedBert, pack
from router.encoding.torch_encoder import QueryEncoder

WARM_UP = 5
LEAST_COSINE = 0.999  # of an embedding with the float32 module's
BYTES = 2  # of a number in bfloat16
Run = Callable[[], Tensor]


class Batch(NamedTuple):
    """The same texts twice, on the device."""

    padded: tuple[Tensor, Tensor]  # (B, T) ids and mask
    packed: Packed


def operators(config: dict[str, Any], layers: int, texts: int, tokens: int) -> list[tuple[float, float]]:
    """Operations and bytes of each operator in a forward of `layers` layers on `texts` texts of `tokens` tokens.

    The operators of a layer are the product of queries, keys and values, attention, the output product with the
    residual, LayerNorm, the inner product with GELU, the outer product with the residual, LayerNorm. Each reads every
    input once and writes every output once, in bfloat16: the least that a kernel for it alone moves. Operations are
    two for each multiplication of a matrix product. Embeddings and pooling are left out.

    >>> operators({"hidden_size": 2, "intermediate_size": 3}, layers=1, texts=1, tokens=1)[0]
    (24.0, 40.0)
    """
    size, inner = config["hidden_size"], config["intermediate_size"]
    rows = texts * tokens
    layer = [
        (2 * size * 3 * size, size + 3 * size, 3 * size * size),  # operations and numbers of a token, and weights
        (4 * tokens * size, 3 * size + size, 0),
        (2 * size * size, 2 * size + size, size * size),
        (0, 2 * size, 0),
        (2 * size * inner, size + inner, size * inner),
        (2 * inner * size, inner + 2 * size, inner * size),
        (0, 2 * size, 0),
    ]
    return layers * [
        (float(rows * work), float(BYTES * (rows * numbers + weights))) for work, numbers, weights in layer
    ]


def roofline_seconds(
    config: dict[str, Any], layers: int, texts: int, tokens: int, peak_tflops: float, bandwidth_tb: float
) -> float:
    """Least time of a forward whose operators run one after another: for each the greater of work's and memory's time.

    With an endless peak it is the time of the 70 moved numbers of two bytes, with endless bandwidth the operations':

    >>> config = {"hidden_size": 2, "intermediate_size": 3}
    >>> round(1e12 * roofline_seconds(config, 1, 1, 1, peak_tflops=1e9, bandwidth_tb=1.0))
    140
    >>> round(1e12 * roofline_seconds(config, 1, 1, 1, peak_tflops=1.0, bandwidth_tb=1e9))
    64
    """
    times = ((work / peak_tflops, moved / bandwidth_tb) for work, moved in operators(config, layers, texts, tokens))
    return sum(map(max, times)) / 1e12


def repeated(run: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Seconds of each repeat, after WARM_UP more."""
    return [seconds(run, device) for _ in range(WARM_UP + repeats)][WARM_UP:]


def ceilings(device: torch.device, repeats: int = 10) -> dict[str, float]:
    """Measured limits of the machine: TFLOP/s of a large product in bfloat16, TB/s of a copy (read and written)."""
    side, numbers = (8192, 1 << 30) if device.type == "cuda" else (256, 1 << 20)
    one, other = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = float(np.median(repeated(partial(torch.mm, one, other), device, repeats)))
    source = torch.zeros(numbers, device=device, dtype=torch.bfloat16)
    copy = float(np.median(repeated(partial(torch.empty_like(source).copy_, source), device, repeats)))
    return {"tflops": 2 * side**3 / product / 1e12, "tb_per_s": 2 * BYTES * numbers / copy / 1e12}


def batch_of(encoder: QueryEncoder, lengths: Sequence[int], device: torch.device) -> Batch:
    """Random token ids in texts of `lengths`."""
    vocabulary = int(encoder.described.config["vocab_size"])
    generator = np.random.default_rng(0)
    ids = [generator.integers(1000 % vocabulary, vocabulary, length).tolist() for length in lengths]
    return Batch(encoder.collate(ids, device), pack(ids, device))


def ways(encoder: QueryEncoder, device: torch.device, precision: str) -> dict[str, Callable[[Batch], Run]]:
    """Ways to compute embeddings by name, each a function from a batch to the timed call."""

    def padded(function: Callable[..., Tensor], batch: Batch) -> Run:
        def run() -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                return function(*batch.padded)

        return run

    def packed(function: Callable[[Packed], Tensor], batch: Batch) -> Run:
        return partial(function, batch.packed)

    def replayed(function: Callable[[Packed], Tensor], batch: Batch) -> Run:
        return captured(function, batch.packed)

    found: dict[str, Callable[[Batch], Run]] = {"eager": partial(padded, encoder)}
    embeds: dict[str, Callable[[Packed], Tensor]] = {}
    if precision == "bf16":
        embeds = {"packed": packed_embedding(encoder), "packed, fused gelu": packed_embedding(encoder, fused_gelu=True)}
    found |= {name: partial(packed, embed) for name, embed in embeds.items()}
    if device.type == "cuda":
        found |= {f"{name}, graph": partial(replayed, embed) for name, embed in embeds.items()}
    return found


def packed_embedding(encoder: QueryEncoder, **options: Any) -> Callable[[Packed], Tensor]:
    """A function from packed texts to embeddings (B, E), by a `PackedBert` with these options."""
    network = PackedBert(encoder.transformer, **options)
    return lambda packed: encoder.joined(network(packed, encoder.layers, encoder.described.pooling))


def captured(function: Callable[[Packed], Tensor], packed: Packed) -> Run:
    """Replay of `function(packed)` as a CUDA graph, which costs one launch."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # the set-up of the first calls must not be captured
        for _ in range(3):
            function(packed)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function(packed)

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def least_cosine(found: Tensor, expected: Tensor) -> float:
    """Least cosine of the embeddings (B, E) with the expected ones; NaN where one is NaN."""
    return float(F.cosine_similarity(found.float(), expected.float()).min())


def stored_encoder(checkpoint: str) -> tuple[Path, dict[str, Any]]:
    """Folder and settings of a checkpoint's encoder."""
    config = json.loads((Path(checkpoint) / "config.json").read_text(encoding="utf-8"))
    return Path(checkpoint) / "encoder", config["encoder"]


@torch.inference_mode()
def measure(options: argparse.Namespace, most: dict[str, float]) -> list[dict[str, Any]]:
    """A row for each batch size, precision and way, printed on stderr as they are made."""
    device = torch.device(options.device)
    folder, settings = stored_encoder(options.checkpoint)
    encoder = QueryEncoder.from_pretrained(folder, **settings).to(device).eval()
    config, depth = encoder.described.config, encoder.depth
    rows = []
    print(HEADER, file=sys.stderr)
    by_precision = {each: ways(encoder, device, each) for each in options.precisions}
    for texts in options.batches:
        lengths = np.random.default_rng(1).integers(1, options.tokens + 1, texts).tolist()
        mixed, full = (batch_of(encoder, each, device) for each in (lengths, [options.tokens] * texts))
        checked = [(batch, encoder(*batch.padded)) for batch in (mixed, full)]
        work = sum(each for each, _ in operators(config, depth, texts, options.tokens))
        limits = {
            "of_roofline": (options.peak_tflops, options.bandwidth_tb),
            "of_measured_roofline": (most["tflops"], most["tb_per_s"]),
        }
        for precision, prepared in by_precision.items():
            for name, prepare in prepared.items():
                row: dict[str, Any] = {"batch": texts, "tokens": options.tokens, "precision": precision, "run": name}
                try:
                    row["cosine"] = min(least_cosine(prepare(batch)(), made) for batch, made in checked)
                    row["wrong"] = not row["cosine"] >= LEAST_COSINE
                    row |= figures(repeated(prepare(full), device, options.repeats), work, texts, options.peak_tflops)
                    if precision == "bf16":
                        for key, (tflops, terabytes) in limits.items():
                            if tflops:
                                least = roofline_seconds(config, depth, texts, options.tokens, tflops, terabytes)
                                row[key] = 1e3 * least / row["ms"]
                except Exception as error:  # the other rows go on
                    row["error"] = f"{type(error).__name__}: {error}"[:2000]
                rows.append(row)
                print(line(row), file=sys.stderr, flush=True)
    return rows


def figures(times: Sequence[float], work: float, batch: int, peak_tflops: float | None) -> dict[str, float | None]:
    """Median and spread of `times` in seconds, each for `work` operations on `batch` texts.

    >>> figures([1.0, 2.0, 4.0], work=4e12, batch=6, peak_tflops=8.0)["of_peak"]
    0.25
    """
    low, middle, high = spread(times)
    rate = work / middle / 1e12
    return {
        "ms": 1e3 * middle,
        "p10": 1e3 * low,
        "p90": 1e3 * high,
        "texts_per_s": batch / middle,
        "tflops": rate,
        "of_peak": rate / peak_tflops if peak_tflops else None,
    }


HEADER = (
    "| texts | run | ms (p10 to p90) | texts/s | TFLOP/s | of peak | of roofline | of measured roofline | cosine |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def line(row: dict[str, Any]) -> str:
    """A row of the Markdown table under HEADER."""
    start = f"| {row['batch']} | {row['precision']} {row['run']} | "
    if "error" in row:
        return start + row["error"].splitlines()[0][:200] + " |" * 7
    shares = (row.get(key) for key in ("of_peak", "of_roofline", "of_measured_roofline"))
    peaks = " | ".join("" if share is None else f"{share:.3f}" for share in shares)
    speed = f"{row['ms']:.3f} ({row['p10']:.3f} to {row['p90']:.3f}) | {row['texts_per_s']:.0f} | {row['tflops']:.1f}"
    return f"{start}{speed} | {peaks} | {row['cosine']:.6f}{' WRONG' * row['wrong']} |"


def main() -> int:
    """Print the figures; 1 where a way failed or gave other embeddings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--precisions", nargs="+", choices=("bf16", "fp32"), default=["bf16", "fp32"])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--peak-tflops", type=float, help="the processor's peak in the precision measured")
    parser.add_argument("--bandwidth-tb", type=float, default=4.8, help="its memory's TB/s")
    options = parser.parse_args()
    most = ceilings(torch.device(options.device))
    about = environment("torch", device=options.device) | {
        "threads": torch.get_num_threads(), "cuda": torch.version.cuda, "peak_tflops": options.peak_tflops,
        "bandwidth_tb": options.bandwidth_tb, "measured": most,
    }  # fmt: skip
    limits = f"{most['tflops']:.1f} TFLOP/s, {most['tb_per_s']:.3f} TB/s measured"
    print(f"{about['gpu'] or 'CPU'}: {limits}\n", file=sys.stderr)
    rows = measure(options, most)
    print(json.dumps(about | {"rows": rows}))
    return int(any(row.get("wrong") or "error" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
