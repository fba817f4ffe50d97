"""Profile fit from few graded answers: MAP logistic regression on frozen query vectors, with a prior from known models.

The mean of the prior is the mean of the known systems' rows, moved by side information about the new model (price,
benchmark scores); its covariance is that of the leave-one-out residuals of the known rows. So the posterior combines
known models and leaves their span only if many answers demand it. Pure numpy.
Axes: N known systems, n answers, F features (columns of a profile, slope of difficulty, bias), X side information.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.arrays import clipped_sigmoid

Array = NDArray[np.float64]

PENALTIES = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)  # of the ridge on side information; chosen by leave-one-out
OWN_VARIANCE = 0.02  # of each weight in one made-up system beside the known ones, so that no direction has variance 0
NEWTON_STEPS = 100
LENGTH_STRENGTH = 4.0  # answers that the prior of a length counts as


@dataclass(frozen=True)
class ProfilePrior:
    """Normal prior of a row."""

    mean: Array  # (F,)
    factor: Array  # (F, F), lower triangular; the covariance is factor @ factor.T
    left_out: Array  # (N, F), leave-one-out residuals of the known rows


@dataclass(frozen=True)
class FittedProfile:
    """Normal posterior of a row, by Laplace's approximation."""

    row: Array  # (F,), the mean
    factor: Array  # (F, F); the covariance is factor @ factor.T
    log_evidence: float  # of the answers, up to a constant that depends on them alone


def fit_prior(rows: Array, side: Array, own: Array) -> ProfilePrior:
    """The prior of a system with side information `own` (X,), from known rows (N, F) with theirs, `side` (N, X).

    A ridge regression of rows on standardised side information, its penalty chosen by leave-one-out in closed form.
    For X = 0 the mean is that of the rows.

    >>> rows = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    >>> fit_prior(rows, np.zeros((3, 0)), np.zeros(0)).mean.tolist()
    [2.0, 1.0]
    >>> fit_prior(rows, np.array([[1.0], [2.0], [3.0]]), np.array([3.0])).mean.round(1).tolist()
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
    """The most probable row under the prior, given scores (n,) in [0, 1] of answers on query features (n, F).

    `weight` (n,) is the number of answers that each score stands for. Without answers the row is the prior's mean.

    >>> flat = ProfilePrior(np.zeros(1), np.eye(1), np.zeros((1, 1)))
    >>> fit_profile(np.ones((2, 1)), np.array([1.0, 1.0]), flat).row.round(2).tolist()
    [0.67]
    """
    inputs = features @ prior.factor  # the row is mean + factor @ a with a standard normal a
    offset = features @ prior.mean
    weight = np.ones(len(score)) if weight is None else weight
    a = np.zeros(inputs.shape[1])
    loss = _loss(offset + inputs @ a, score, weight, a)
    for _ in range(NEWTON_STEPS):
        probability = clipped_sigmoid(offset + inputs @ a)
        gradient = inputs.T @ (weight * (probability - score)) + a
        step = np.linalg.solve(_curvature(inputs, weight * probability * (1 - probability)), gradient)
        size = 1.0
        while (
            new := _loss(offset + inputs @ (a - size * step), score, weight, a - size * step)
        ) > loss and size > 1e-6:
            size /= 2  # a whole step may overshoot far from the optimum
        if new > loss:  # no step is better, because of rounding
            break
        a, loss = a - size * step, new
        if np.abs(step).max() < 1e-7:
            break
    probability = clipped_sigmoid(offset + inputs @ a)
    root = np.linalg.cholesky(_curvature(inputs, weight * probability * (1 - probability)))
    factor = np.linalg.solve(root, prior.factor.T).T  # curvature = root root', covariance = L curvature^-1 L'
    return FittedProfile(prior.mean + prior.factor @ a, factor, float(-loss - np.log(np.diag(root)).sum()))


def _loss(logit: Array, score: Array, weight: Array, a: Array) -> float:
    return float((weight * (np.logaddexp(0, logit) - score * logit)).sum() + a @ a / 2)


def _curvature(inputs: Array, weight: Array) -> Array:
    return (inputs * weight[:, None]).T @ inputs + np.eye(inputs.shape[1])


def leading(factor: Array, rank: int) -> Array:
    """The best approximation (F, rank) of a covariance factor, padded with zeros if the factor has fewer columns.

    >>> np.abs(leading(np.diag([1.0, 3.0]), 1)).tolist()
    [[0.0], [3.0]]
    """
    left, size, _ = np.linalg.svd(factor, full_matrices=False)
    found = left[:, :rank] * size[:rank]
    return np.pad(found, ((0, 0), (0, rank - found.shape[1])))


def fit_length(log_length: Array, tokens: Array, prior: float) -> float:
    """Log of a model's usual answer length, from tokens (n,) of its answers and the queries' factors `log_length` (n,).

    Predicted and measured totals agree, except for the prior, which counts as LENGTH_STRENGTH answers. Unknown tokens
    are NaN.

    >>> round(float(np.exp(fit_length(np.zeros(4), np.full(4, 100.0), float(np.log(400.0))))))
    200
    """
    known = ~np.isnan(tokens)
    expected = np.exp(log_length[known]).sum()
    if not known.any() or tokens[known].sum() <= 0:
        return prior
    found = float(np.log(tokens[known].sum() / expected))
    return (known.sum() * found + LENGTH_STRENGTH * prior) / (known.sum() + LENGTH_STRENGTH)
