"""Capability and domain labels of every query, predicted from its embedding by a linear softmax.

Knows arrays only. Axes: N training queries, B queries, E embedding, A label axes: C capabilities, then K domains.
"""

from __future__ import annotations

import numpy as np
import torch

from router.errors import DataError
from router.network.taxonomy import CAPABILITIES
from train.baselines.task import Array
from train.data.weak_labels import softmax_regression


def predicted_labels(train_embedding: Array, train_labels: Array, embedding: Array) -> Array:
    """Labels (B, A) of the queries of `embedding` (B, E); capabilities sum to 1, and so do domains.

    Fitted on the annotated rows of `train_embedding` (N, E) and `train_labels` (N, A), whose other rows are NaN; on
    those rows the prediction has seen the truth. DataError where no row is annotated.
    """
    known = ~np.isnan(train_labels).any(axis=1)
    if not known.any():
        raise DataError("no training query is annotated, so labels cannot be predicted: annotate some of the pool's")
    features, asked = (torch.from_numpy(rows).float() for rows in (train_embedding[known], embedding))
    parts = []
    for axes in (slice(None, len(CAPABILITIES)), slice(len(CAPABILITIES), None)):
        linear = softmax_regression(features, torch.from_numpy(train_labels[known, axes]).float())
        parts.append(linear(asked).softmax(dim=1).detach().double().numpy())
    return np.concatenate(parts, axis=1)
