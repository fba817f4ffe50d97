"""Short vectors with the same inner products: item vectors on the few directions that a pool's profiles span.

Learned profiles are at most as many directions as there are learned models, often less than a third of the columns.
Prices keep a column each, scaled to unit spread. Axes: M candidates, V = D + 2 + P columns of an item vector, J short.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

LOST = 1e-6  # share of the mean square of the profiles that the directions left out may have held
PLACED_BY = 24  # leading profile coordinates that say which models stand together; they hold nearly all
LEAST_PRICE = 1e-4  # USD/Mtok (or USD/Mtok times tokens): what is cheaper stands with what costs this


@dataclass(frozen=True)
class Reduction:
    """How item and search vectors become short ones."""

    of_items: Tensor  # (V, J)
    of_searches: Tensor  # (V, J); of_items @ of_searches.T is the identity on the pool's span
    price_scale: Tensor  # (V - D - 1 or less,) what a price column was divided by
    profile_columns: int  # D + 1, of the V those that are no prices
    lost: float  # share of the profiles' mean square outside of the span

    @property
    def length(self) -> int:
        """J."""
        return self.of_items.shape[1]

    @property
    def profile_length(self) -> int:
        """How many of the J columns are of profiles."""
        return self.length - len(self.price_scale)

    @classmethod
    def fit(cls, chunks: Iterable[Tensor], profile_columns: int) -> Reduction:
        """From item vectors, (M', V) at a time, of which the first `profile_columns` (D + 1) are profile and bias.

        Directions of least mean square are left out as long as no more than LOST of it is lost; prices that are
        everywhere 0 are left out. Columns are sorted by mean square, the greatest first.
        """
        count, gram, total, square = 0, torch.zeros(0), torch.zeros(0), torch.zeros(0)
        for chunk in chunks:
            wide = chunk.double()
            profile, price = wide[:, :profile_columns], wide[:, profile_columns:]
            parts = (profile.T @ profile, price.sum(dim=0), price.square().sum(dim=0))
            gram, total, square = parts if count == 0 else (gram + parts[0], total + parts[1], square + parts[2])
            count += len(chunk)
        energy, directions = torch.linalg.eigh(gram)
        energy, directions = energy.flip(0).clamp_min(0), directions.flip(1)
        whole = energy.sum().clamp_min(torch.finfo(torch.float64).tiny)
        left = 1 - energy.cumsum(0) / whole  # after one, two, ... directions
        kept = min(int((left > LOST).sum()) + 1, profile_columns)
        spread = (square / count - (total / count).square()).clamp_min(0).sqrt()
        used = (square > 0).nonzero()[:, 0]
        scale = torch.where(spread > 0, spread, (square / count).sqrt())[used]
        prices = torch.eye(len(total), dtype=torch.float64, device=gram.device)[:, used]
        basis = directions[:, :kept]
        return cls(
            torch.block_diag(basis, prices / scale).float(),
            torch.block_diag(basis, prices * scale).float(),
            scale.float(),
            profile_columns,
            max(float(left[kept - 1]), 0.0),
        )

    def tensors(self) -> dict[str, Tensor]:
        """What it consists of, by the names of its fields."""
        return {"of_items": self.of_items, "of_searches": self.of_searches, "price_scale": self.price_scale}

    def to(self, device: torch.device | str) -> Reduction:
        """The same on a device."""
        moved = {name: each.to(device) for name, each in self.tensors().items()}
        return Reduction(**moved, profile_columns=self.profile_columns, lost=self.lost)

    def items(self, vectors: Tensor) -> Tensor:
        """Short vectors (M, J) of item vectors (M, V)."""
        return vectors @ self.of_items

    def searches(self, vectors: Tensor) -> Tensor:
        """Short vectors (B, J) of search vectors (B, V)."""
        return vectors @ self.of_searches

    def outside(self, vectors: Tensor) -> Tensor:
        """Share (M,) of each item vector's squared length, prices left aside, that its short vector does not hold."""
        whole = vectors[:, : self.profile_columns].square().sum(dim=1)
        held = (vectors @ self.of_items[:, : self.profile_length]).square().sum(dim=1)
        return (1 - held / whole.clamp_min(torch.finfo(whole.dtype).tiny)).clamp_min(0)

    def place(self, short: Tensor) -> Tensor:
        """Where short item vectors (M, J) stand for clustering, (M, F): leading profile coordinates and log prices.

        Prices span four orders of magnitude: on their own scale all cheap models would stand on one spot, and at a high
        dial it is those that are chosen among. A factor of e in the price of answers counts as much as one logit,
        in that of prompts half.
        """
        split = self.profile_length
        price = short[:, split:] * self.price_scale
        both = torch.stack([price[:, 0], price[:, 1:].sum(dim=1)], dim=1) if price.shape[1] > 1 else price
        weight = torch.tensor([0.5, 1.0][: both.shape[1]]).to(short)
        return torch.cat([short[:, : min(split, PLACED_BY)], weight * both.clamp_min(LEAST_PRICE).log()], dim=1)
