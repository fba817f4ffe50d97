"""Benchmark scores of known models, for onboarding: `python -m train benchmarks CHECKPOINT`.

Writes `benchmarks.json` into an older checkpoint: means over training rows, and published scores whose terms allow it.
New checkpoints get it from `fit`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from router.checkpoint.benchmark_scores import BenchmarkScores
from router.checkpoint.layout import LAYOUT
from router.checkpoint.storage import load_checkpoint
from router.errors import CheckpointError
from router.evaluation.dataset import Dataset, read_dataset
from router.files import atomic_write
from router.pools.models import System
from train.data.folds import fold_rows, usable_rows
from train.data.published_scores import published_table

FEWEST = 20  # answers needed for a mean score
# Origins whose published scores may be passed on, named in NOTICE: Epoch AI's own runs (CC BY 4.0), LiveBench.
SHIPPED_ORIGINS = ("epoch", "livebench")


def benchmark_scores(dataset: Dataset, rows: NDArray[np.intp], systems: Sequence[System]) -> BenchmarkScores:
    """Mean score of each system on each benchmark over `rows`, where it has at least FEWEST answers.

    Beside them stand published scores of SHIPPED_ORIGINS on benchmarks that the folder does not hold.
    """
    columns = dataset.columns(tuple(systems))
    benchmark = dataset.queries["benchmark"].to_numpy()[rows]
    found: dict[tuple[str, str], dict[str, float]] = {}
    for name in sorted(set(benchmark)):
        score = dataset.score[rows[benchmark == name]][:, columns].astype(np.float64)
        answered = (~np.isnan(score)).sum(axis=0)
        for system, n, points in zip(systems, answered.tolist(), np.nansum(score, axis=0).tolist(), strict=True):
            if n >= FEWEST:
                found.setdefault((str(name), system.protocol), {})[system.model] = round(points / n, 4)
    published = published_table(dataset, set(benchmark))
    published = published[published["origin"].isin(SHIPPED_ORIGINS) & ~published["benchmark"].isin(set(benchmark))]
    owners = pd.DataFrame([(system.model, system.protocol) for system in systems], columns=["model", "protocol"])
    medians = published.merge(owners, on="model").groupby(["benchmark", "protocol", "model"])["score"].median()
    for (name, protocol, model), points in medians.items():
        found.setdefault((name, protocol), {})[model] = round(float(points), 4)
    return BenchmarkScores(found)


def main(args: list[str] | None = None) -> int:
    """Write the scores and print their number; 0 when done."""
    parser = argparse.ArgumentParser(
        prog="python -m train benchmarks",
        description="What known models scored on benchmarks, for first profiles of new ones: "
        "`python -m train benchmarks CHECKPOINT`.",
    )
    parser.add_argument("checkpoint")
    parser.add_argument("--data", help="data folder; default ROUTEMIX_DIR, else data/routemix-open")
    options = parser.parse_args(args)
    checkpoint = load_checkpoint(options.checkpoint)
    dataset = read_dataset(options.data)
    trained = checkpoint.training.get("data")
    if not isinstance(trained, dict) or not {"ood_benchmarks", "train_folds"} <= set(trained):
        raise CheckpointError(
            f"{options.checkpoint} has no record of its training rows (training.data in its config.json)"
        )
    rows = fold_rows(dataset, usable_rows(dataset, trained["ood_benchmarks"]), trained["train_folds"])
    scores = benchmark_scores(dataset, rows, checkpoint.systems)
    atomic_write(Path(options.checkpoint) / LAYOUT.benchmarks, scores.to_json().encode())
    print(f"{sum(map(len, scores.scores.values()))} scores of {len(scores.names)} benchmarks")
    return 0
