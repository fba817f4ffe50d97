"""Paired bootstrap over queries: draws, intervals, p-values of differences, Holm's correction.

The first draw is always the sample itself, so that one computation gives a figure and its draws. Knows no metric.
Axes: R draws (the sample first), B queries.
"""

import math

import numpy as np

from router.evaluation.metrics import Array

Z = 1.959964  # of a two-sided interval of 95% confidence


def query_weights(queries: int, draws: int, seed: int) -> Array:
    """Share of each query in each draw, (1 + draws, B): rows sum to 1, the sample comes first.

    The same arguments give the same draws, which pairs the comparison.

    >>> query_weights(4, 2, seed=0)[0].tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    drawn = np.random.default_rng(seed).integers(queries, size=(draws, queries))
    cells = (drawn + queries * np.arange(draws)[:, None]).ravel()
    counts = np.bincount(cells, minlength=draws * queries).reshape(draws, queries)
    return np.concatenate([np.ones((1, queries)), counts]) / queries


def spread(draws: Array) -> float:
    """Bootstrap standard deviation of a figure (R,), the sample first; NaN without two finite draws.

    >>> spread(np.array([9.0, 1.0, 3.0])) == 2**0.5
    True
    """
    finite = draws[1:][np.isfinite(draws[1:])]
    return float(finite.std(ddof=1)) if len(finite) > 1 else math.nan


def interval(draws: Array) -> tuple[float, float]:
    """The 95% interval of a figure (R,): the sample's value plus and minus 1.96 bootstrap standard deviations.

    Not percentiles: a hull through noisy points lies a little high, and draws of draws lie higher still.
    """
    half = Z * spread(draws)
    return float(draws[0]) - half, float(draws[0]) + half


def p_value(difference: Array) -> float:
    """Two-sided p-value of a difference (R,) that is 0 under the null: normal, with the draws' standard deviation.

    Counting draws beyond 0 cannot go below 2 / R, too much for Holm's correction over some dozens of comparisons.
    A difference that is the same in every draw is certain: p is 1 for 0 and 0 for anything else.

    >>> p_value(np.zeros(5)), p_value(np.full(5, 0.1))
    (1.0, 0.0)
    """
    value, sd = float(difference[0]), spread(difference)
    if math.isnan(value) or math.isnan(sd):
        return math.nan
    if sd <= 1e-12:  # rounding
        return 1.0 if abs(value) <= 1e-12 else 0.0
    return math.erfc(abs(value) / sd / math.sqrt(2))


def holm(p: Array) -> Array:
    """Holm's step-down adjusted p-values (K,) of K comparisons; NaN is no comparison and stays NaN.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(4).tolist()
    [0.03, 0.06, 0.06]
    """
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
