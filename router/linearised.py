"""Utility as one inner product: models as item vectors, queries with their dial as search vectors.

    [s vector, s, -w n_in / 1e6, -w g / 1e6] . [profile, bias, p_in, p_out * length at the protocol's column]

is, less a constant of the query, the tangent of `sigmoid(logit) - w cost` at the logit where the sigmoid's slope is s.
It orders models as utility does where their logits are near that one; where the best models' are, a sample of the pool
tells (`tangent_logit`). Pure functions; knows no index.
Axes: B queries, M candidates, D vector, P protocols, V = D + 2 + P.
"""

from __future__ import annotations

import torch
from torch import Tensor

from router import scoring
from router.candidates import Candidates
from router.network import QueryVectors

LEAST_SLOPE = 1e-6  # a quality that is certain in every digit still is worth more the more certain it is


def item_vectors(candidates: Candidates, protocols: int) -> Tensor:
    """Item vectors (M, V): profile (D), bias, input price, and P columns of output price times usual answer tokens."""
    answer = candidates.price_out * torch.exp(candidates.log_tokens)
    own = torch.nn.functional.one_hot(candidates.protocol, protocols).to(answer.dtype)
    prices = torch.cat([candidates.price_in[:, None], answer[:, None] * own], dim=1)
    return torch.cat([candidates.profile, candidates.bias[:, None], prices], dim=1)


def search_vectors(query: QueryVectors, input_tokens: Tensor, weight: Tensor, logit: Tensor) -> Tensor:
    """Search vectors (B, V) of queries at cost weights (B,) in quality per USD, tangent at `logit` (B,).

    Scaled so that the greatest entry of each is 1 in size. At an infinite weight only the cost columns are not 0.
    """
    vector = query.vector
    finite = torch.isfinite(weight)
    slope = torch.where(finite, sigmoid_slope(logit).clamp_min(LEAST_SLOPE), 0.0).to(vector)[:, None]
    price = torch.where(finite, weight, 1.0).to(vector)[:, None] / -1e6
    tokens = torch.cat([input_tokens[:, None].to(vector), torch.exp(query.log_length)], dim=1)
    search = torch.cat([slope * vector, slope, price * tokens], dim=1)
    return search / search.abs().amax(dim=1, keepdim=True)


def sigmoid_slope(logit: Tensor) -> Tensor:
    """Slope of the sigmoid at `logit`, in (0, 1/4].

    >>> sigmoid_slope(torch.tensor([0.0, 2.0]))
    tensor([0.2500, 0.1050])
    """
    quality = torch.sigmoid(logit)
    return quality * (1 - quality)


def tangent_logit(sample: Candidates, query: QueryVectors, input_tokens: Tensor, weight: Tensor) -> Tensor:
    """The logit (B,) of that model of a sample which has the greatest utility.

    Not the leading logit: where money counts the best choice lies far below it, on a steeper part of the sigmoid.
    """
    logits = sample.logits(query.vector)
    utility = scoring.utility(torch.sigmoid(logits), sample.cost(query, input_tokens), weight.to(logits))
    return logits.gather(1, utility.argmax(dim=1, keepdim=True))[:, 0]
