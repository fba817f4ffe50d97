"""What is known around a query: its likeness to prototypes and to the kinds of training queries.

A prototype is the mean of a cluster of training queries, no query is stored; a kind is one of their categories, told by
a softmax. What models do near the one and on the other becomes a few latent coordinates. Both fade with the distance to
the nearest prototype: far from all of them the named axes and the bias are left to decide.
Fitted by `train.export.prototypes`. Axes: B queries, H shared layer, T prototypes, G categories, L likeness.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from router.network.heads_graph import CATEGORY_SCALE, SHARPNESS, SHORTEST


class Prototypes(nn.Module):
    """The shared layer (B, H) to likeness (B, L); 0 for every query until it is fitted."""

    centre: Tensor
    points: Tensor
    coordinates: Tensor

    def __init__(self, hidden: int, prototypes: int, likeness: int, categories: int = 0) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(hidden))  # of the training queries
        self.register_buffer("points", torch.zeros(prototypes, hidden))  # unit rows, seen from the centre
        self.register_buffer("coordinates", torch.zeros(prototypes + categories, likeness))
        self.category = nn.Linear(hidden, categories) if categories else None

    def forward(self, hidden: Tensor) -> Tensor:
        found: Tensor = self.features(hidden) @ self.coordinates
        return found

    def features(self, hidden: Tensor) -> Tensor:
        """The kernel and behind it the probability of each category, (B, T + G).

        Probabilities are scaled by CATEGORY_SCALE and the root of the greatest kernel value.
        """
        near = self.kernel(hidden)
        if self.category is None:
            return near
        scale = CATEGORY_SCALE * near.amax(dim=1, keepdim=True).sqrt()
        return torch.cat([near, scale * self.category(hidden).softmax(dim=1)], dim=1)

    def kernel(self, hidden: Tensor) -> Tensor:
        """How near each prototype is, (B, T) in (0, 1]: exp(SHARPNESS (cosine - 1)) as seen from the centre."""
        direction = F.normalize(hidden - self.centre, dim=1, eps=SHORTEST)
        return (SHARPNESS * (direction @ self.points.T - 1)).exp()
