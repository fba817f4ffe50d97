"""Quality, cost and utility of every (query, candidate) pair, as pure functions of tensors.

Knows no names, files or constraints. Axes: B queries, M candidates, D vector. Works on any device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DIAL_MAX = 10.0
CHARS_PER_TOKEN = 4  # of a prompt: what a provider counts is not known before it answers
LOG10_WEIGHT_AT_0, LOG10_WEIGHT_AT_10 = -3.0, 2.0  # the span of the policy curve, docs/method.md section 4


def logits(query: Tensor, profile: Tensor, bias: Tensor) -> Tensor:
    """Logits (B, M) of `query` (B, D) against `profile` (M, D) and `bias` (M,): one matrix product.

    >>> logits(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, -1.0]]), torch.tensor([0.5, 0.0]))
    tensor([[ 3.5000, -2.0000]])
    """
    return torch.addmm(bias, query, profile.T)


def expected_cost(input_tokens: Tensor, output_tokens: Tensor, price_in: Tensor, price_out: Tensor) -> Tensor:
    """Expected cost (B, M) in USD of prompts of (B,) tokens answered in (B, M) tokens at prices (M,) in USD per Mtok.

    >>> expected_cost(torch.tensor([1e6]), torch.tensor([[0.0, 5e5]]), torch.tensor([1.0, 2.0]), torch.tensor([4., 4.]))
    tensor([[1., 4.]])
    """
    return (input_tokens[:, None] * price_in + output_tokens * price_out) / 1e6


def cost_weight(dial: Tensor, cost_range_usd: float) -> Tensor:
    """What one US dollar is worth in quality at each dial (B,) in [0, 10]: 0 at 0, infinite at 10, logarithmic between.

    >>> cost_weight(torch.tensor([0.0, 6.0, 10.0]), 0.01).tolist()
    [0.0, 100.0, inf]
    """
    exponent = LOG10_WEIGHT_AT_0 + (LOG10_WEIGHT_AT_10 - LOG10_WEIGHT_AT_0) * dial.double() / DIAL_MAX
    weight = torch.pow(10.0, exponent) / cost_range_usd
    return torch.where(dial <= 0, 0.0, torch.where(dial >= DIAL_MAX, math.inf, weight)).to(dial.dtype)


def dial_of_weight(weight: Tensor, cost_range_usd: float) -> Tensor:
    """The dial (B,) in [0, 10] of each cost weight (B,): inverse of `cost_weight`, the nearer end beyond its span.

    >>> dial_of_weight(torch.tensor([0.0, 100.0, torch.inf]), 0.01).tolist()
    [0.0, 6.0, 10.0]
    """
    exponent = torch.log10(weight * cost_range_usd)
    dial = (exponent - LOG10_WEIGHT_AT_0) * DIAL_MAX / (LOG10_WEIGHT_AT_10 - LOG10_WEIGHT_AT_0)
    return dial.clamp(0.0, DIAL_MAX)


def utility(quality: Tensor, cost: Tensor, weight: Tensor) -> Tensor:
    """Utility (B, M) = quality - weight x cost; for an infinite weight (B,) it is -cost, in USD.

    >>> utility(torch.tensor([[0.9, 0.5]]), torch.tensor([[0.02, 0.01]]), torch.tensor([10.0]))
    tensor([[0.7000, 0.4000]])
    """
    finite = torch.isfinite(weight)[:, None]
    return torch.where(finite, quality - torch.where(finite, weight[:, None], 0.0) * cost, -cost)
