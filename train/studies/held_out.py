"""Held-out predictions of a checkpoint next to the recorded outcomes of chosen folds, from cached embeddings.

The studies dials, risk and calibration start from them. Axes: B queries, M candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from router.arrays import host, like, sigmoid
from router.encoding.backend import as_torch
from router.evaluation.dataset import Dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import judged_and_training, reference_models
from router.pools.pool import Pool
from router.routing.router import Router
from train.data.embedding_cache import cached_embeddings


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
