"""Short vectors with the same inner products: item vectors on the few directions that a pool's profiles span.

Learned profiles are at most as many directions as there are learned models, often less than a third of the columns.
Prices keep a column each, scaled to unit spread. Axes: M candidates, V = D + 2 + P columns of an item vector, J short.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, concat, host, like, namespace

Floats = NDArray[np.float32]

LOST = 1e-6  # share of the mean square of the profiles that the directions left out may have held
PLACED_BY = 24  # leading profile coordinates that say which models stand together; they hold nearly all
LEAST_PRICE = 1e-4  # USD/Mtok (or USD/Mtok times tokens): what is cheaper stands with what costs this


@dataclass(frozen=True)
class Reduction:
    """How item and search vectors become short ones."""

    of_items: Floats  # (V, J)
    of_searches: Floats  # (V, J); of_items @ of_searches.T is the identity on the pool's span
    price_scale: Floats  # (V - D - 1 or less,) what a price column was divided by
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
    def fit(cls, chunks: Iterable[Array], profile_columns: int) -> Reduction:
        """From item vectors, (M', V) at a time, of which the first `profile_columns` (D + 1) are profile and bias.

        Directions of least mean square are left out as long as no more than LOST of it is lost; prices that are
        everywhere 0 are left out. Columns are sorted by mean square, the greatest first.
        """
        count, sums = 0, None
        for chunk in chunks:  # the sums on the chunks' device, what follows of a few numbers in numpy
            xp = namespace(chunk)
            wide = xp.astype(chunk, xp.float64)
            profile, price = wide[:, :profile_columns], wide[:, profile_columns:]
            parts = (profile.T @ profile, xp.sum(price, axis=0), xp.sum(price * price, axis=0))
            sums = parts if sums is None else tuple(a + b for a, b in zip(sums, parts, strict=True))
            count += len(chunk)
        if sums is None:
            raise ValueError("there is no item to fit to")
        gram, total, square = map(host, sums)
        energy, directions = np.linalg.eigh(gram)
        energy, directions = energy[::-1].clip(min=0), directions[:, ::-1]
        whole = max(energy.sum(), np.finfo(np.float64).tiny)
        left = 1 - energy.cumsum() / whole  # after one, two, ... directions
        kept = min(int((left > LOST).sum()) + 1, profile_columns)
        spread = np.sqrt((square / count - (total / count) ** 2).clip(min=0))
        used = np.flatnonzero(square > 0)
        scale = np.where(spread > 0, spread, np.sqrt(square / count))[used]
        prices = np.eye(len(total))[:, used]
        basis = directions[:, :kept]
        return cls(
            _blocks(basis, prices / scale),
            _blocks(basis, prices * scale),
            scale.astype(np.float32),
            profile_columns,
            max(float(left[kept - 1]), 0.0),
        )

    def arrays(self) -> dict[str, Floats]:
        """What it consists of, by the names of its fields."""
        return {"of_items": self.of_items, "of_searches": self.of_searches, "price_scale": self.price_scale}

    def items(self, vectors: Array) -> Array:
        """Short vectors (M, J) of item vectors (M, V)."""
        return vectors @ like(self.of_items, vectors)

    def searches(self, vectors: Array) -> Array:
        """Short vectors (B, J) of search vectors (B, V)."""
        return vectors @ like(self.of_searches, vectors)

    def outside(self, vectors: Array) -> Array:
        """Share (M,) of each item vector's squared length, prices left aside, that its short vector does not hold."""
        xp, profile = namespace(vectors), vectors[:, : self.profile_columns]
        whole = xp.sum(profile**2, axis=1)
        held = xp.sum((vectors @ like(self.of_items[:, : self.profile_length], vectors)) ** 2, axis=1)
        return xp.clip(1 - held / xp.clip(whole, np.finfo(np.float32).tiny), 0.0)

    def place(self, short: Array) -> Array:
        """Where short item vectors (M, J) stand for clustering, (M, F): leading profile coordinates and log prices.

        Prices span four orders of magnitude: on their own scale all cheap models would stand on one spot, and at a high
        dial it is those that are chosen among. A factor of e in the price of answers counts as much as one logit,
        in that of prompts half.
        """
        xp, split = namespace(short), self.profile_length
        price = short[:, split:] * like(self.price_scale, short)
        both = xp.stack([price[:, 0], xp.sum(price[:, 1:], axis=1)], axis=1) if price.shape[1] > 1 else price
        weight = like([0.5, 1.0][: both.shape[1]], short)
        return concat([short[:, : min(split, PLACED_BY)], weight * xp.log(xp.clip(both, LEAST_PRICE))], axis=1)


def _blocks(first: NDArray[np.float64], second: NDArray[np.float64]) -> Floats:
    """The two matrices along the diagonal of a larger one."""
    rows, columns = first.shape
    found = np.zeros((rows + second.shape[0], columns + second.shape[1]), np.float32)
    found[:rows, :columns], found[rows:, columns:] = first, second
    return found
