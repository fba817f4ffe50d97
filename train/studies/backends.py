"""Agreement of the onnxruntime backends with torch: `python -m train backends CHECKPOINT`.

Every backend decides on the same queries; equal decisions are counted and the scores of the chosen models compared.
Axes: B queries, M candidates.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from router.arrays import host, like
from router.checkpoint.layout import LAYOUT, find_folder
from router.encoding.backend import as_torch, choose_backend, load_encoder
from router.errors import DataError
from router.evaluation.dataset import Dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import PoolOutcomes, pool_outcomes, row_masks
from router.options import BACKENDS
from router.policy.constraints import cost_weights, rank
from router.pools.pool import Pool
from router.routing.router import Router
from train.data.embedding_cache import cached_embeddings
from train.studies.arguments import folds, router_and_data, study_parser

DIALS = (0.0, 3.0, 5.0)
NEAR = 1e-5  # utilities that differ by less are a tie, which rounding may decide
OTHERS = tuple(name for name in BACKENDS if name not in ("auto", "torch"))
_CHUNK = 256  # queries encoded between two moves of the progress bar


def compare(reference: Array, other: Array, weight: Array, cost: Sequence[Array], score: Array) -> dict[str, float]:
    """Differences between decisions by qualities `other` (B, M) and by `reference` (B, M).

    `cost` holds both predicted costs (B, M), `weight` (B,) the worth of a dollar, `score` (B, M) the recorded outcomes.
    `unexplained` is the share of different decisions where the reference's two best utilities are no tie.

    >>> quality, free = np.array([[0.5, 0.6], [0.5, 0.500001]]), np.zeros((2, 2))
    >>> score = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> compare(quality, quality[:, ::-1], np.zeros(2), (free, free), score)
    {'equal': 0.0, 'unexplained': 0.5, 'score': 0.5, 'lost': 0.0}
    """
    rows, admitted = np.arange(len(score)), np.ones(score.shape, bool)
    utility, best = rank(reference, cost[0], weight, admitted, 2)
    chosen = rank(other, cost[1], weight, admitted, 1)[1][:, 0]
    top = np.take_along_axis(utility, best, axis=1)
    moved = chosen != best[:, 0]
    before, after = (float(score[rows, pick].mean()) for pick in (best[:, 0], chosen))
    return {
        "equal": 1 - float(moved.mean()),
        "unexplained": float((moved & (top[:, 0] - top[:, 1] >= NEAR)).mean()),
        "score": before,
        "lost": before - after,
    }


def pool_figures(
    router: Router, pool: Pool, outcomes: PoolOutcomes, input_tokens: Array, embeddings: Mapping[str, Array]
) -> dict[str, dict[str, dict[str, float]]]:
    """Figures of `compare` with torch on the queries of `outcomes`, by backend and dial."""
    candidates = router.candidates(pool)
    tokens = like(input_tokens, candidates.bias)
    predictions = {}
    for name, embedding in embeddings.items():
        prediction = candidates.predict(router.network.query_vectors(embedding), tokens)
        predictions[name] = host(prediction.quality), host(prediction.cost_usd)
    quality, cost = predictions.pop("torch")
    return {
        name: {
            f"{dial:g}": compare(
                quality,
                other,
                cost_weights(dial, len(outcomes.score), candidates.cost_range_usd)[1],
                (cost, cost_by_other),
                outcomes.score,
            )
            for dial in DIALS
        }
        for name, (other, cost_by_other) in predictions.items()
    }


def study(
    router: Router, dataset: Dataset, folder: Path, chosen: Sequence[int], backends: Sequence[str], cache: Path
) -> dict[str, Any]:
    """Figures of every pool on the folds `chosen`; each backend encodes each query once."""
    mask = row_masks(dataset, None, chosen)[0]
    outcomes = {name: pool_outcomes(dataset, pool) for name, pool in router.pools.items()}
    judged = {name: each.take(mask) for name, each in outcomes.items()}
    judged = {name: each for name, each in judged.items() if len(each.rows)}
    if not judged:
        raise DataError(f"no query of folds {list(chosen)} has a score of every member of a pool")
    rows = np.unique(np.concatenate([each.rows for each in judged.values()]))
    texts = dataset.queries["text"].to_numpy()[rows].tolist()
    encoder = as_torch(router.encoder)
    settings = {"max_tokens": encoder.max_tokens, "head_share": encoder.head_share, "layers": encoder.layers}
    embeddings = {"torch": host(cached_embeddings(encoder, texts, cache))}
    for name in backends:
        inner = folder / LAYOUT.encoder
        other = load_encoder(inner, settings, choose_backend(name, "cpu", inner), "cpu")
        order = np.argsort([-len(text) for text in texts], kind="stable")
        embedding = np.empty_like(embeddings["torch"])
        for start in tqdm(range(0, len(order), _CHUNK), desc=name, disable=not sys.stderr.isatty()):
            some = order[start : start + _CHUNK]
            embedding[some] = host(other.encode([texts[i] for i in some]))
        embeddings[name] = embedding
    figures = {}
    for name, each in judged.items():
        at = np.searchsorted(rows, each.rows)
        tokens = dataset.input_tokens[each.rows]
        by = pool_figures(router, router.pool(name), each, tokens, {key: e[at] for key, e in embeddings.items()})
        figures[name] = {"n": len(each.rows), **by}
    return figures


def table(figures: Mapping[str, Any], backends: Sequence[str]) -> str:
    """Markdown table of the figures, a row for each pool, backend and dial."""
    lines = [
        "| pool | n | backend | dial | equal decisions | unequal, no tie | mean score lost |",
        "|---|---|---|---|---|---|---|",
    ]
    for pool, each in figures.items():
        for name in backends:
            for dial, row in each[name].items():
                shares = f"{row['equal']:.2%} | {row['unexplained']:.2%} | {row['lost']:+.5f}"
                lines.append(f"| {pool} | {each['n']:,} | {name} | {dial} | {shares} |")
    return "\n".join(lines)


def main(args: list[str] | None = None) -> int:
    """Print the table, or with --json the figures; 0 when done."""
    parser = study_parser(
        "backends", "Whether other backends decide as torch does: `python -m train backends CHECKPOINT`."
    )
    parser.add_argument("--folds", type=folds, default="8,9", help="folds judged (default %(default)s)")
    parser.add_argument(
        "--backends", nargs="+", choices=OTHERS, default=["onnx", "onnx-int8"], help="default: %(default)s"
    )
    parser.add_argument("--cache", type=Path, default="runs/cache", help="folder of cached embeddings")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(args)
    router, dataset = router_and_data(options)
    figures = study(router, dataset, find_folder(options.checkpoint), options.folds, options.backends, options.cache)
    print(json.dumps(figures, indent=1) if options.json else table(figures, options.backends))
    return 0
