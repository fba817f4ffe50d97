"""Linear utility: utility as one inner product of an item vector (a model) and a search vector (a query at its dial).

    [s vector, s, -w n_in / 1e6, -w g / 1e6] . [profile, bias, p_in, p_out * length at the protocol's column]

is, up to a constant of the query, the tangent of `sigmoid(logit) - w cost` at the logit where the sigmoid's slope is s.
It orders models as utility does where their logits are near that logit; a sample of the pool tells where the best
models' logits are (`tangent_logit`). Pure functions; they know no index.
Axes: B queries, M candidates, D vector, P protocols, V = D + 2 + P.
"""

from router.arrays import Array, concat, like, namespace, one_hot, sigmoid, take_columns
from router.network import scoring
from router.network.vectors import QueryVectors
from router.policy.candidates import Candidates

TIE_USD = 1e-9  # the worth of a logit where only cost counts
LEAST_WEIGHT = 1e-4  # of cost, in quality per cost range: a tenth of what the least dial above 0 gives it
LEAST_SLOPE = 1e-6  # where quality rounds to 0 or 1 a greater logit is still worth more


def item_vectors(candidates: Candidates, protocols: int) -> Array:
    """Item vectors (M, V): profile (D), bias, input price, and P columns of output price times usual answer tokens."""
    answer = candidates.price_out * namespace(candidates.log_tokens).exp(candidates.log_tokens)
    own = one_hot(candidates.protocol, protocols, answer)
    prices = concat([candidates.price_in[:, None], answer[:, None] * own], axis=1)
    return concat([candidates.profile, candidates.bias[:, None], prices], axis=1)


def search_vectors(
    query: QueryVectors, input_tokens: Array, weight: Array, logit: Array, least_weight: float = 0.0
) -> Array:
    """Search vectors (B, V) of queries at cost weights (B,) in quality per USD, tangent at `logit` (B,).

    The greatest entry of each has size 1. A weight counts as at least `least_weight`, so that the cheaper of two
    equally good models comes first. At an infinite weight a logit is worth TIE_USD, so that the better of two equally
    cheap models does.
    """
    vector = query.vector
    xp, weight = namespace(vector), like(weight, vector)
    finite = xp.isfinite(weight)
    slope = xp.clip(like(sigmoid_slope(logit), vector), LEAST_SLOPE)
    slope = xp.where(finite, slope, xp.full_like(slope, TIE_USD))[:, None]
    price = xp.where(finite, xp.clip(weight, least_weight), xp.ones_like(weight))[:, None] / -1e6
    tokens = concat([like(input_tokens, vector)[:, None], xp.exp(query.log_length)], axis=1)
    search = concat([slope * vector, slope, price * tokens], axis=1)
    return search / xp.max(xp.abs(search), axis=1, keepdims=True)


def sigmoid_slope(logit: Array) -> Array:
    """Slope of the sigmoid at `logit`, in (0, 1/4].

    >>> import numpy as np
    >>> sigmoid_slope(np.array([0.0, 2.0])).round(4).tolist()
    [0.25, 0.105]
    """
    quality = sigmoid(logit)
    return quality * (1 - quality)


def tangent_logit(sample: Candidates, query: QueryVectors, input_tokens: Array, weight: Array) -> Array:
    """The logit (B,) of the sampled model with the greatest utility.

    This is not the greatest logit: where cost counts, the best choice lies far below, on a steeper part of the sigmoid.
    """
    logits = sample.logits(query.vector)
    utility = scoring.utility(sigmoid(logits), sample.cost(query, input_tokens), like(weight, logits))
    return take_columns(logits, namespace(utility).argmax(utility, axis=1)[:, None])[:, 0]
