"""Profiles of one model fitted from few answers, and simpler ways to predict its quality: kNN and a linear head.

Takes arrays and priors; knows no file and trains no network. Axes: N queries of a pool, M candidates, F numbers of a
profile, E embedding, n answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.arrays import clipped_sigmoid
from router.evaluation import metrics
from router.evaluation.metrics import Array
from router.onboarding.anchors import CONSIDERED, choose_anchors
from router.onboarding.profile_fit import ProfilePrior, fit_length, fit_profile

Index = NDArray[np.intp]
LEAST = 1e-3  # probabilities are clipped to within this of 0 and 1
NEIGHBOURS = (3.0, 5.0, 10.0, 20.0, 40.0)
PRECISIONS = (0.3, 1.0, 3.0, 10.0, 30.0)  # of a linear head's weights, on embeddings of mean square length 1


@dataclass(frozen=True, eq=False)
class Subject:
    """A model that is left out and onboarded, with the queries that it is judged on."""

    features: Array  # (N, F) of a network that never saw the model
    embedding: Array  # (N, E), centred, of mean square length 1
    score: Array  # (N,) its own
    tokens: Array  # (N,) of its answers, NaN where not measured
    log_length: Array  # (N,) the queries' factor under its protocol
    prior: ProfilePrior
    prior_log_tokens: float
    trained: Array  # (N,) quality by a network that was trained with the model
    train: Index  # rows that answers are drawn from
    tune: Index  # rows that the simpler ways are tuned on
    judged: Index


def log_loss(quality: Array, score: Array) -> float:
    """Mean cross-entropy of predicted qualities (n,) on scores (n,).

    >>> round(log_loss(np.array([0.5]), np.array([1.0])), 4)
    0.6931
    """
    kept = np.clip(quality, LEAST, 1 - LEAST)
    return float(-(score * np.log(kept) + (1 - score) * np.log(1 - kept)).mean())


def onboarded(subject: Subject, rows: Index) -> tuple[Array, float]:
    """Quality (N,) by the profile fitted from the answers on `rows`, and the log of its answer length."""
    fitted = fit_profile(subject.features[rows], subject.score[rows], subject.prior)
    length = fit_length(subject.log_length[rows], subject.tokens[rows], subject.prior_log_tokens)
    return clipped_sigmoid(subject.features @ fitted.row), length


def nearest(subject: Subject, rows: Index, wanted: Index, neighbours: float) -> Array:
    """Quality of the `wanted` queries: mean score of their nearest answered ones, with the mean of all as one more."""
    likeness = subject.embedding[wanted] @ subject.embedding[rows].T
    k = min(int(neighbours), len(rows))
    near = np.argpartition(-likeness, k - 1, axis=1)[:, :k]
    return (subject.score[rows][near].sum(axis=1) + subject.score[rows].mean()) / (k + 1)


def linear_head(subject: Subject, rows: Index, wanted: Index, precision: float) -> Array:
    """Quality of the `wanted` queries by a logistic regression on embeddings, trained on the answers alone.

    In the span of the answered queries, where the penalised optimum lies: n features in place of E.
    """
    seen = subject.embedding[rows]
    root = np.linalg.cholesky(seen @ seen.T + 1e-6 * np.eye(len(rows)))
    inside = np.linalg.solve(root, seen @ subject.embedding[wanted].T).T
    width = len(rows) + 1
    free = np.append(np.full(len(rows), precision**-0.5), 10.0)  # the intercept is nearly free
    prior = ProfilePrior(np.zeros(width), np.diag(free), np.zeros((1, width)))
    row = fit_profile(np.column_stack([root, np.ones(len(rows))]), subject.score[rows], prior).row
    return clipped_sigmoid(inside @ row[:-1] + row[-1])


def tuned(way: Callable[[Subject, Index, Index, float], Array], settings: Sequence[float], subjects: Sequence[Subject],
          n: int, generator: np.random.Generator) -> float:  # fmt: skip
    """Setting of a simpler way with the least log loss on the subjects' tuning rows, from one draw each."""
    draws = [generator.choice(subject.train, n, replace=False) for subject in subjects]
    losses = [
        np.mean(
            [log_loss(way(s, rows, s.tune, value), s.score[s.tune]) for s, rows in zip(subjects, draws, strict=True)]
        )
        for value in settings
    ]
    return settings[int(np.argmin(losses))]


def anchored(subject: Subject, n: int, generator: np.random.Generator) -> Index:
    """Rows (n,) to answer, chosen as `router anchors` does, from some drawn at random."""
    some = generator.choice(subject.train, min(CONSIDERED, len(subject.train)), replace=False)
    return some[choose_anchors(subject.features[some], subject.prior, n, int(generator.integers(2**31)))]


def curve_height(quality: Array, cost: Array, score: Array, realised: Array, low: float, high: float) -> float:
    """Mean height of a router's hull between two costs, of predictions and outcomes (B, M).

    The hull has the router's own points alone: a pool without its cheapest model must not get it back.
    """
    points_cost, points_score, _ = metrics.policy_points(quality, cost, score, realised, high - low)
    return metrics.upper_hull(points_cost, points_score).mean_height(low, high)
