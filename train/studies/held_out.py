"""A checkpoint's predictions next to the outcomes of chosen folds, from embeddings that are computed once and cached.

What the studies of a finished checkpoint (dials, risk, calibration) start from. Axes: B queries, M candidates.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from router.arrays import host, like
from router.encoding.backend import as_torch
from router.errors import DataError, UsageError
from router.evaluation.dataset import Dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import pool_outcomes, reference_models, row_masks
from router.pools.pool import Pool
from router.routing.router import Router
from train.data.datamodule import cached_embeddings


@dataclass(frozen=True)
class HeldOut:
    """What a router predicts for B queries of a pool, and what came out."""

    logits: Array  # (B, M)
    cost: Array  # (B, M) predicted, USD
    score: Array  # (B, M)
    realised: Array  # (B, M) cost in USD
    best_single: int  # columns chosen on the training folds
    cheapest: int

    @property
    def quality(self) -> Array:
        """(B, M) predicted."""
        return 1 / (1 + np.exp(-self.logits))


def held_out(router: Router, dataset: Dataset, pool: Pool, folds: Sequence[int], cache: Path) -> HeldOut:
    """The pool's queries in `folds`; DataError where there is none, as `router.evaluation.pool_report` for what it
    refuses."""
    evaluated, training = row_masks(dataset, None, folds)
    outcomes = pool_outcomes(dataset, pool)
    judged = outcomes.take(evaluated)
    if not len(judged.rows):
        raise DataError(f"no query of folds {list(folds)} has a score of every member of pool {pool.name!r}")
    texts = dataset.queries["text"].to_numpy()[judged.rows].tolist()
    query = router.network.query_vectors(cached_embeddings(as_torch(router.encoder), texts, cache))
    candidates = router.candidates(pool)
    cost = candidates.cost(query, like(dataset.input_tokens[judged.rows], query.difficulty))
    return HeldOut(
        host(candidates.logits(query.vector)).astype(np.float64),
        host(cost).astype(np.float64),
        judged.score,
        judged.realised_usd,
        *reference_models(outcomes.take(training), pool),
    )


def folds(text: str) -> list[int]:
    """An argparse type: folds as `7` or `8,9`.

    >>> folds("8,9")
    [8, 9]
    """
    if not all(part in tuple("0123456789") for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed are whole numbers from 0 to 9, separated by commas")
    return [int(part) for part in text.split(",")]


def apart(chosen_on: list[int], judged_on: list[int]) -> tuple[list[int], list[int]]:
    """Both, where no fold is in both; UsageError where one is."""
    if set(chosen_on) & set(judged_on):
        raise UsageError(f"folds {chosen_on} choose and folds {judged_on} judge: no fold may do both")
    return chosen_on, judged_on
