"""Logistic matrix factorisation, the router of RouteLLM (2406.18665) and EmbedLLM (2410.02223).

Axes: B queries, M candidates, E embedding, R rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

RANK = 32


class FactorisationNetwork(nn.Module):
    """logit = (W e(x)) · v_m + b_m, with W (R, E), v (M, R) and b (M,)."""

    def __init__(self, embedding: int, start: Tensor) -> None:
        super().__init__()
        self.project = nn.Linear(embedding, RANK, bias=False)
        self.models = nn.Parameter(0.1 * torch.randn(len(start), RANK))
        self.bias = nn.Parameter(start.clone())

    def forward(self, embedding: Tensor) -> Tensor:
        """Logits (B, M)."""
        return torch.addmm(self.bias, self.project(embedding), self.models.T)
