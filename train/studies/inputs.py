"""What studies start from: arguments (a checkpoint, a data folder, folds), and held-out predictions beside outcomes.

Predictions are of a checkpoint on chosen folds, from cached embeddings. Axes: B queries, M candidates.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from router.arrays import host, like, sigmoid
from router.encoding.backend import as_torch
from router.errors import UsageError
from router.evaluation.dataset import Dataset, read_dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import judged_and_training, reference_models
from router.pools.pool import Pool
from router.routing.router import Router
from train.data.embedding_cache import cached_embeddings


def study_parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser of `python -m train COMMAND CHECKPOINT [--data DIR]`."""
    parser = argparse.ArgumentParser(prog=f"python -m train {command}", description=description)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", help="data folder; default ROUTEMIX_DIR, else data/routemix-open")
    return parser


def router_and_data(options: argparse.Namespace) -> tuple[Router, Dataset]:
    """The checkpoint's router, computed by torch, and the data folder. RouterError where one cannot be read."""
    return Router.from_pretrained(options.checkpoint, backend="torch"), read_dataset(options.data)


def folds(text: str) -> list[int]:
    """Folds from text such as `7` or `8,9`, as an argparse type.

    >>> folds("8,9")
    [8, 9]
    """
    if not all(part in tuple("0123456789") for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed are whole numbers from 0 to 9, separated by commas")
    return [int(part) for part in text.split(",")]


def apart(chosen_on: list[int], judged_on: list[int]) -> tuple[list[int], list[int]]:
    """Both lists, if they share no fold; UsageError if they do."""
    if set(chosen_on) & set(judged_on):
        raise UsageError(f"folds {chosen_on} choose and folds {judged_on} judge: no fold may do both")
    return chosen_on, judged_on


@dataclass(frozen=True)
class HeldOut:
    """Predictions of a router for B queries of a pool, and their recorded outcomes."""

    logits: Array  # (B, M)
    cost: Array  # (B, M) predicted, USD
    score: Array  # (B, M)
    realised: Array  # (B, M) cost in USD
    best_single: int  # columns chosen on the training folds
    cheapest: int

    @property
    def quality(self) -> Array:
        """Predicted quality (B, M)."""
        return sigmoid(self.logits)


def held_out(router: Router, dataset: Dataset, pool: Pool, folds: Sequence[int], cache: Path) -> HeldOut:
    """Predictions and outcomes of the pool's queries in `folds`; DataError where there is none."""
    judged, training = judged_and_training(dataset, pool, None, list(folds))
    texts = dataset.queries["text"].to_numpy()[judged.rows].tolist()
    query = router.network.query_vectors(cached_embeddings(as_torch(router.encoder), texts, cache))
    candidates = router.candidates(pool)
    cost = candidates.cost(query, like(dataset.input_tokens[judged.rows], query.difficulty))
    return HeldOut(
        host(candidates.logits(query.vector)).astype(np.float64),
        host(cost).astype(np.float64),
        judged.score,
        judged.realised_usd,
        *reference_models(training, pool),
    )
