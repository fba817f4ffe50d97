"""Scoring: quality logits, cost and utility of every (query, candidate) pair, and the cost weight of a dial.

Pure functions of arrays or tensors, on any device; no names, files or constraints. Axes: B queries, M candidates, D
vector.
"""

import numpy as np

from router.arrays import Array, linear, namespace
from router.options import DIAL_MAX

LEAST = 1e-300  # stands for a weight of 0 in its logarithm
LOG10_WEIGHT_AT_0, LOG10_WEIGHT_AT_10 = -3.0, 2.0  # the range of the dial, docs/method.md section 4


def logits(query: Array, profile: Array, bias: Array) -> Array:
    """Logits (B, M) of `query` (B, D) against `profile` (M, D) and `bias` (M,): one matrix product.

    >>> logits(np.array([[1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, -1.0]]), np.array([0.5, 0.0])).tolist()
    [[3.5, -2.0]]
    """
    return linear(query, profile, bias)


def expected_cost(input_tokens: Array, output_tokens: Array, price_in: Array, price_out: Array) -> Array:
    """Expected cost (B, M) in USD of prompts of (B,) tokens answered in (B, M) tokens at prices (M,) in USD per Mtok.

    >>> expected_cost(np.array([1e6]), np.array([[0.0, 5e5]]), np.array([1.0, 2.0]), np.array([4.0, 4.0])).tolist()
    [[1.0, 4.0]]
    """
    return (input_tokens[:, None] * price_in + output_tokens * price_out) / 1e6


def cost_weight(dial: Array, cost_range_usd: float) -> Array:
    """Quality that one US dollar is worth at each dial (B,) in [0, 10]: 0 at 0, infinite at 10, logarithmic between.

    >>> cost_weight(np.array([0.0, 6.0, 10.0]), 0.01).tolist()
    [0.0, 100.0, inf]
    """
    xp = namespace(dial)
    exponent = LOG10_WEIGHT_AT_0 + (LOG10_WEIGHT_AT_10 - LOG10_WEIGHT_AT_0) * xp.astype(dial, xp.float64) / DIAL_MAX
    weight = 10.0**exponent / cost_range_usd
    weight = xp.where(
        dial <= 0, xp.zeros_like(weight), xp.where(dial >= DIAL_MAX, xp.full_like(weight, np.inf), weight)
    )
    return xp.astype(weight, dial.dtype)


def dial_of_weight(weight: Array, cost_range_usd: float) -> Array:
    """The dial (B,) in [0, 10] of each cost weight (B,), the inverse of `cost_weight`; clipped beyond its range.

    >>> dial_of_weight(np.array([0.001, 100.0, np.inf]), 0.01).round(6).tolist()
    [0.0, 6.0, 10.0]
    """
    xp = namespace(weight)
    exponent = xp.log10(xp.clip(weight * cost_range_usd, LEAST))
    dial = (exponent - LOG10_WEIGHT_AT_0) * DIAL_MAX / (LOG10_WEIGHT_AT_10 - LOG10_WEIGHT_AT_0)
    return xp.clip(dial, 0.0, DIAL_MAX)


def utility(quality: Array, cost: Array, weight: Array) -> Array:
    """Utility (B, M) = quality - weight x cost; for an infinite weight (B,) it is -cost, in USD.

    >>> utility(np.array([[0.9, 0.5]]), np.array([[0.02, 0.01]]), np.array([10.0])).round(6).tolist()
    [[0.7, 0.4]]
    """
    xp = namespace(quality)
    finite = xp.isfinite(weight)[:, None]
    return xp.where(finite, quality - xp.where(finite, weight[:, None], xp.zeros_like(weight[:, None])) * cost, -cost)
