"""What is known around a query: its likeness to prototypes in the space of the heads' shared layer.

A prototype is the mean of a cluster of training queries, no query is stored. What models do near it becomes a few
latent coordinates by a radial kernel, so the trust falls with the distance: far from every prototype the coordinates
fade, and the named axes and the bias are left to decide. Fitted by `train.prototypes`.
Axes: B queries, H shared layer, T prototypes, L likeness.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHARPNESS = 4.0  # of the kernel; at a cosine of 0 a prototype still counts exp(-4) = 1.8% of one that is hit


class Prototypes(nn.Module):
    """The shared layer (B, H) to likeness (B, L); 0 for every query until it is fitted."""

    centre: Tensor
    points: Tensor
    coordinates: Tensor

    def __init__(self, hidden: int, prototypes: int, likeness: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(hidden))  # of the training queries
        self.register_buffer("points", torch.zeros(prototypes, hidden))  # unit rows, seen from the centre
        self.register_buffer("coordinates", torch.zeros(prototypes, likeness))

    def forward(self, hidden: Tensor) -> Tensor:
        likeness: Tensor = self.kernel(hidden) @ self.coordinates
        return likeness

    def kernel(self, hidden: Tensor) -> Tensor:
        """How near each prototype is, (B, T) in (0, 1]: exp(SHARPNESS (cosine - 1))."""
        return torch.exp(SHARPNESS * (F.normalize(hidden - self.centre, dim=1) @ self.points.T - 1))
