"""A profile from few graded answers: MAP logistic regression on frozen query vectors, drawn to what is known already.

The prior comes from the known systems' rows: their mean, moved by what is known of the new model besides (price,
benchmark scores), with the covariance of what that leaves unexplained of each known row when it is left out. So the
posterior combines known models, and leaves their span only where many answers ask for it. Pure numpy.
Axes: N known systems, n answers, F features (columns of a profile, slope of difficulty, bias), X side information.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.arrays import clipped_sigmoid

Array = NDArray[np.float64]

PENALTIES = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)  # of the ridge on side information; chosen by leave-one-out
OWN_VARIANCE = 0.02  # of each weight in the one made-up system that stands beside the known: no direction is closed
NEWTON_STEPS = 100
LENGTH_STRENGTH = 4.0  # answers by which a length is drawn to its prior


@dataclass(frozen=True)
class ProfilePrior:
    """What a row is expected to be before an answer is seen: a normal distribution."""

    mean: Array  # (F,)
    factor: Array  # (F, F), lower triangular; the covariance is factor @ factor.T
    left_out: Array  # (N, F): by how much each known row is missed when it is left out


@dataclass(frozen=True)
class FittedProfile:
    """A row and how sure it is: a normal distribution around it (Laplace's approximation)."""

    row: Array  # (F,)
    factor: Array  # (F, F); the covariance is factor @ factor.T
    log_evidence: float  # of the answers, up to a constant of theirs


def prior_of(rows: Array, side: Array, own: Array) -> ProfilePrior:
    """The prior of a system with side information `own` (X,), from known rows (N, F) with theirs, `side` (N, X).

    A ridge regression of rows on standardised side information, its penalty chosen by leave-one-out in closed form.
    X may be 0: the mean of the rows.

    >>> rows = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    >>> prior_of(rows, np.zeros((3, 0)), np.zeros(0)).mean.tolist()
    [2.0, 1.0]
    >>> prior_of(rows, np.array([[1.0], [2.0], [3.0]]), np.array([3.0])).mean.round(1).tolist()
    [3.9, 1.0]
    """
    known, centre = len(rows), rows.mean(axis=0)
    scale = np.maximum(side.std(axis=0), 1e-9)
    standard, own = (side - side.mean(axis=0)) / scale, (own - side.mean(axis=0)) / scale
    kernel = standard @ standard.T
    best, mean = _left_out(rows - centre, np.zeros((known, known))), centre
    for penalty in PENALTIES if side.shape[1] else ():
        share = np.linalg.solve(kernel + penalty * np.eye(known), kernel).T
        missed = _left_out(rows - centre, share)
        if np.square(missed).sum() < np.square(best).sum():
            best = missed
            mean = centre + np.linalg.solve(kernel + penalty * np.eye(known), standard @ own) @ (rows - centre)
    covariance = (best.T @ best + OWN_VARIANCE * np.eye(rows.shape[1])) / (known + 1)
    return ProfilePrior(mean, np.linalg.cholesky(covariance).astype(np.float64), best)


def _left_out(centred: Array, share: Array) -> Array:
    """Leave-one-out residuals (N, F) of a linear smoother with hat matrix `share` + 1/N; 0 for a lone row."""
    share = share + 1 / len(centred)
    return (centred - share @ centred) / np.maximum(1 - np.diag(share), 1e-6)[:, None]


def fit_profile(features: Array, score: Array, prior: ProfilePrior, weight: Array | None = None) -> FittedProfile:
    """The row that answers scored (n,) in [0, 1] on query features (n, F) make likeliest under the prior.

    `weight` (n,) is how many answers each stands for. Without answers it is the prior's.

    >>> flat = ProfilePrior(np.zeros(1), np.eye(1), np.zeros((1, 1)))
    >>> fit_profile(np.ones((2, 1)), np.array([1.0, 1.0]), flat).row.round(2).tolist()
    [0.67]
    """
    seen = features @ prior.factor  # the row is mean + factor @ a, and a is standard normal
    offset = features @ prior.mean
    weight = np.ones(len(score)) if weight is None else weight
    a = np.zeros(seen.shape[1])
    loss = _loss(offset + seen @ a, score, weight, a)
    for _ in range(NEWTON_STEPS):
        probability = clipped_sigmoid(offset + seen @ a)
        gradient = seen.T @ (weight * (probability - score)) + a
        curvature = _curvature(seen, weight * probability * (1 - probability))
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (new := _loss(offset + seen @ (a - size * step), score, weight, a - size * step)) > loss and size > 1e-6:
            size /= 2  # far from the optimum a whole step may overshoot
        if new > loss:  # no step is better: as near as rounding lets it
            break
        a, loss = a - size * step, new
        if np.abs(step).max() < 1e-7:
            break
    probability = clipped_sigmoid(offset + seen @ a)
    root = np.linalg.cholesky(_curvature(seen, weight * probability * (1 - probability)))
    factor = np.linalg.solve(root, prior.factor.T).T  # curvature = root root', covariance = L curvature^-1 L'
    return FittedProfile(prior.mean + prior.factor @ a, factor, float(-loss - np.log(np.diag(root)).sum()))


def _loss(logit: Array, score: Array, weight: Array, a: Array) -> float:
    return float((weight * (np.logaddexp(0, logit) - score * logit)).sum() + a @ a / 2)


def _curvature(seen: Array, weight: Array) -> Array:
    return (seen * weight[:, None]).T @ seen + np.eye(seen.shape[1])


def leading(factor: Array, rank: int) -> Array:
    """The best factor (F, rank) of the same covariance; with fewer columns, padded with zeros.

    >>> np.abs(leading(np.diag([1.0, 3.0]), 1)).tolist()
    [[0.0], [3.0]]
    """
    left, size, _ = np.linalg.svd(factor, full_matrices=False)
    found = left[:, :rank] * size[:rank]
    return np.pad(found, ((0, 0), (0, rank - found.shape[1])))


def fit_length(log_length: Array, tokens: Array, prior: float) -> float:
    """Log of a model's usual answer length, from answers of (n,) tokens where `log_length` (n,) is the queries' factor.

    Predicted and measured totals agree but for the prior, which counts LENGTH_STRENGTH answers; NaN tokens are unknown.

    >>> round(float(np.exp(fit_length(np.zeros(4), np.full(4, 100.0), float(np.log(400.0))))))
    200
    """
    known = ~np.isnan(tokens)
    expected = np.exp(log_length[known]).sum()
    if not known.any() or tokens[known].sum() <= 0:
        return prior
    found = float(np.log(tokens[known].sum() / expected))
    return (known.sum() * found + LENGTH_STRENGTH * prior) / (known.sum() + LENGTH_STRENGTH)
