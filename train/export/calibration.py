"""Affine calibration of logits (Platt scaling), fitted per system and shrunk to the fit of its protocol.

Pure numpy. `ProfileTable.calibrate` folds the result into the profiles, so serving pays nothing for it.
Axes: N rows, S systems.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router.onboarding.profile_fit import ProfilePrior, fit_profile

Array = NDArray[np.float64]

SHRINKAGE = (
    5000.0  # pseudo-observations of the protocol's map per system; training fitted its bias on thousands of rows
)
SLOPE_STIFFNESS = 4.0  # a slope is shrunk this many times harder than a shift
LEAST_SCALE = 0.05


def fit_affine(logit: Array, score: Array, prior: Sequence[float] = (1.0, 0.0), shrinkage: float = 0.0) -> Array:
    """A scale above 0 and a shift (2,): MAP logistic regression of scores (N,) in [0, 1] on logits (N,).

    The prior is a normal around `prior` (2,) whose precision is `shrinkage` observations (times SLOPE_STIFFNESS for the
    scale). Without rows the result is the prior. Platt scaling on soft labels.

    >>> fit_affine(np.array([]), np.array([]), (1.0, 0.5), 10.0).tolist()
    [1.0, 0.5]
    """
    centre = np.array(prior)
    features = np.column_stack([logit, np.ones(len(logit))])
    precision = np.array([SLOPE_STIFFNESS, 1.0]) * (0.25 * shrinkage + 1e-6)
    scale, shift = fit_profile(features, score, ProfilePrior(centre, np.diag(precision**-0.5), np.zeros((1, 2)))).row
    return np.array([max(scale, LEAST_SCALE), shift])


def calibrate(logits: Array, scores: Array, protocol: NDArray[np.int64]) -> tuple[Array, Array]:
    """Scales and shifts (S,) of logits (N, S) for scores (N, S), NaN without an outcome.

    First one map per protocol (S,), then one per system, shrunk to it by SHRINKAGE. A system without rows gets its
    protocol's map, a protocol without rows the identity.
    """
    scale, shift = np.empty((2, logits.shape[1]))
    seen = ~np.isnan(scores)
    for group in np.unique(protocol):
        columns = np.flatnonzero(protocol == group)
        cells = seen[:, columns]
        shared = fit_affine(logits[:, columns][cells], scores[:, columns][cells], shrinkage=1.0)
        for column in columns:
            rows = seen[:, column]
            fitted = fit_affine(logits[rows, column], scores[rows, column], (shared[0], shared[1]), SHRINKAGE)
            scale[column], shift[column] = fitted
    return scale, shift
