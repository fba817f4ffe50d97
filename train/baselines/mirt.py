"""Multidimensional item response theory, the router of IRT-Router (2506.01048).

Queries are the items and models the persons. Here abilities are free parameters, where the paper derives them from an
embedding of the model's description, and its warm-up by similar queries is left out.
Axes: B queries, M candidates, E embedding, T traits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TRAITS = 25


class ItemResponseNetwork(nn.Module):
    """logit = Σ_t softplus(discrimination_t(x)) · (ability_mt − difficulty(x)): more ability never hurts."""

    def __init__(self, embedding: int, start: Tensor) -> None:
        super().__init__()
        self.discrimination = nn.Linear(embedding, TRAITS)
        self.difficulty = nn.Linear(embedding, 1)
        usual = TRAITS * F.softplus(torch.zeros(())).item()  # the sum of discriminations at the start
        self.ability = nn.Parameter(start[:, None] / usual + 0.1 * torch.randn(len(start), TRAITS))

    def forward(self, embedding: Tensor) -> Tensor:
        """Logits (B, M)."""
        discrimination = F.softplus(self.discrimination(embedding))
        return discrimination @ self.ability.T - discrimination.sum(1, keepdim=True) * self.difficulty(embedding)
