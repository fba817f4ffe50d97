"""Significance of one figure among many: false discovery rate, lost agreement, biserial factor.

On arrays of any shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NO_AGREEMENT = 0.01  # p-value above which a correlation may be 0
FALSE_DISCOVERY_RATE = 0.005  # one of two hundred reports is chance; a folder has hundreds of cells to test


def discoveries(p_values: Any, rate: float = FALSE_DISCOVERY_RATE) -> Mask:
    """Which of many tests are significant (Benjamini and Hochberg 1995); NaN is no test.

    >>> discoveries([0.0001, 0.5, np.nan, 0.04], rate=0.05).tolist()
    [True, False, False, False]
    """
    p_values = np.asarray(p_values, np.float64)
    found = np.zeros(p_values.shape, bool)
    tested = ~np.isnan(p_values)
    if tested.any():
        found[tested] = stats.false_discovery_control(p_values[tested]) <= rate
    return found


def may_be_zero(correlation: Any, error: Any) -> Any:
    """Whether correlations are within chance of 0, given their standard errors at 0."""
    return stats.norm.sf(correlation / error) > NO_AGREEMENT


def lost(correlation: Any, usual: Any, error: Any) -> Any:
    """Whether correlations may be 0 and are clearly below the usual ones, given their standard errors at 0."""
    return discoveries(stats.norm.cdf((correlation - usual) / error)) & may_be_zero(correlation, error)


def biserial_factor(mean: Array) -> Array:
    """Factor that makes a correlation with a 0/1 score of that mean independent of the mean (biserial correlation).

    The result is the correlation with a normal variable that is above a threshold where the score is 1. Without the
    factor an easy benchmark looks less consistent than a medium one.

    >>> biserial_factor(np.array([0.5, 0.95])).round(2).tolist()
    [1.25, 2.11]
    """
    mean = np.clip(mean, 1e-3, 1 - 1e-3)
    return np.asarray(np.sqrt(mean * (1 - mean)) / stats.norm.pdf(stats.norm.ppf(mean)), np.float64)
