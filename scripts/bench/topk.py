"""Top-k search in a million short vectors for 1,024 queries at once: `python scripts/bench/topk.py --device cuda`.

Pools are drawn by `large_pools_data` and reduced as an index reduces them; queries are pairs of the quickstart's at
four dials. Each way is first checked against an exact product in float64, then timed: medians with spread, the device's
work included. Two limits stand beside them: the product's operations at the given peak, and the bytes of items and
queries, read once, at the given bandwidth. Prints JSON, and a Markdown table on stderr; exits with 1 where a way found
other scores.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from encoder import repeated
from large_pools_data import large_checkpoint
from timing import CHECKPOINT, environment, quickstart_pairs, spread, table
from torch import Tensor

from router import Router
from router.arrays import like
from router.index import gpu_topk
from router.index.candidate_index import CandidateIndex
from router.index.linear_utility import item_vectors, search_vectors, tangent_logit
from router.index.topk import top_k
from router.options import CHARS_PER_TOKEN
from router.policy.constraints import cost_weights

TOP = 8
DIALS = (0.0, 3.0, 5.0, 8.0)
TOLERANCE = 1e-5  # of the greatest score: what float32 may differ by


def vectors(size: int, queries: int, checkpoint: str) -> tuple[Tensor, Tensor]:
    """Short vectors (queries, J) and (size, J) of a drawn pool."""
    base = Router.from_pretrained(checkpoint)
    pairs = quickstart_pairs()
    query = base.network.query_vectors(base.encoder.encode(pairs))
    tokens = like([len(text) / CHARS_PER_TOKEN for text in pairs], query.difficulty)
    router = Router(large_checkpoint(base.checkpoint, size, seed=0))
    candidates, protocols = router.candidates(), router.network.size.protocols

    def chunks() -> Iterator[Any]:
        for start in range(0, size, 1 << 16):
            yield item_vectors(candidates.take(slice(start, start + (1 << 16))), protocols)

    index = CandidateIndex.build(chunks, candidates.profile.shape[1] + 1, "product")
    sample, found = candidates.take(np.arange(min(1024, size))), []
    for dial in DIALS:
        weight = cost_weights(dial, len(tokens), candidates.cost_range_usd)[1]
        search = search_vectors(query, tokens, weight, tangent_logit(sample, query, tokens, weight))
        found.append(index.projection.searches(search))
    short = np.concatenate(found).astype(np.float32)
    items = index._store.items  # type: ignore[union-attr]  # kind product
    return torch.from_numpy(short[np.arange(queries) % len(short)]), torch.from_numpy(items)


def exact(query: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """The best TOP by a product in float64, some queries at a time."""
    wide = items.double()
    parts = [(part.double() @ wide.T).topk(TOP, dim=1) for part in query.split(64)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def chunked(query: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """The best TOP by products in float32, from the best of each chunk."""
    found: tuple[Tensor, Tensor] = top_k(lambda start, stop: query @ items[start:stop].T, len(items), TOP, len(query))
    return found


def two_passes(query: Tensor, items: Tensor, group: int, precision: str | None) -> tuple[Tensor, Tensor]:
    """The best TOP in two passes with groups of `group`; without a precision by torch alone."""
    before = gpu_topk.GROUP, gpu_topk.PRECISION, gpu_topk.HAS_TRITON
    gpu_topk.GROUP, gpu_topk.HAS_TRITON = group, precision is not None
    gpu_topk.PRECISION = precision or before[1]
    try:
        found: tuple[Tensor, Tensor] = gpu_topk.best_products(query, items, TOP)
        return found
    finally:
        gpu_topk.GROUP, gpu_topk.PRECISION, gpu_topk.HAS_TRITON = before


def measure(size: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each way."""
    device = torch.device(args.device)
    query, items = (each.to(device) for each in vectors(size, args.queries, args.checkpoint))
    values, rows = exact(query, items)
    ways: dict[str, Callable[[], Any]] = {"chunks, float32": partial(chunked, query, items)}
    for group in args.groups:
        ways[f"two passes, torch, groups of {group}"] = partial(two_passes, query, items, group, None)
        if gpu_topk.HAS_TRITON and device.type == "cuda":
            for precision in ("tf32", "tf32x3"):
                name = f"two passes, {precision} kernel, groups of {group}"
                ways[name] = partial(two_passes, query, items, group, precision)
    limits = {
        "limit_operations_ms": 2e3 * query.numel() * len(items) / (args.peak_tflops * 1e12),
        "limit_bytes_ms": 4e3 * (query.numel() + items.numel()) / (args.bandwidth_tb * 1e12),
    }
    found = []
    for name, run in ways.items():
        row = {"models": size, "queries": len(query), "columns": items.shape[1], "way": name} | limits
        try:
            seen, at = (each.to(device) for each in run())
            low, middle, high = spread(repeated(run, device, args.repeats))
            row |= judged(seen.double(), at, values, rows) | {"ms": 1e3 * middle, "p10": 1e3 * low, "p90": 1e3 * high}
        except Exception as error:  # the other ways go on
            row["error"] = f"{type(error).__name__}: {error}"[:300]
        found.append(row)
    return found


def judged(seen: Tensor, at: Tensor, values: Tensor, rows: Tensor) -> dict[str, Any]:
    """Distance of the found scores and rows (B, TOP) from the exact ones."""
    off = float((seen - values).abs().max() / values.abs().max())
    same = (at.sort(dim=1).values == rows.sort(dim=1).values).all(dim=1)
    return {"same_rows": float(same.double().mean()), "score_off": off, "right": off <= TOLERANCE}


def main() -> int:
    """Print the figures; 1 where a way failed or found other scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--groups", type=int, nargs="+", default=[32, 64, 128], help="of neighbours in the first pass")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--peak-tflops", type=float, default=494.5, help="TF32, dense (H100, H200: %(default)s)")
    parser.add_argument("--bandwidth-tb", type=float, default=4.8, help="TB/s (H200: %(default)s)")
    args = parser.parse_args()
    rows = [row for size in args.sizes for row in measure(size, args)]
    print(json.dumps(environment("torch", device=args.device) | {"rows": rows}))
    cells = []
    for row in rows:
        figures = [row.get("error", "")]
        if "error" not in row:
            times = f"{row['ms']:.3g} ({row['p10']:.3g} to {row['p90']:.3g})"
            figures = [times, f"{row['same_rows']:.2%}", f"{row['score_off']:.1e}"]
        cells.append((f"{row['models']:,}", row["way"], *figures))
    print(table(("models", "way", "ms: median (p10 to p90)", "same 8", "scores off"), cells), file=sys.stderr)
    return 0 if all(row.get("right") for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
