"""Low-rank item vectors: item and search vectors on the few directions that a pool's profiles span.

Inner products stay the same. Learned profiles span at most as many directions as there are learned models, often less
than a third of the columns. Each price keeps a column of its own, scaled to unit standard deviation.
Axes: M candidates, V = D + 2 + P columns of an item vector, J of a low-rank vector.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, concat, host, like, namespace

Floats = NDArray[np.float32]

LOST = 1e-6  # share of the mean square of the profiles that the directions left out may have held
PLACED_BY = 24  # leading profile coordinates that models are clustered by; they hold nearly all of the mean square
LEAST_PRICE = 1e-4  # USD/Mtok (or USD/Mtok times tokens); lower prices are clustered as this one


@dataclass(frozen=True)
class LowRankProjection:
    """The linear maps that make item and search vectors low-rank."""

    of_items: Floats  # (V, J)
    of_searches: Floats  # (V, J); of_items @ of_searches.T is the identity on the pool's span
    price_scale: Floats  # (V - D - 1 or less,) the divisor of each price column
    profile_columns: int  # D + 1, the columns that are no prices
    lost: float  # share of the profiles' mean square outside of the directions

    @property
    def length(self) -> int:
        """J, the columns of a low-rank vector."""
        return self.of_items.shape[1]

    @property
    def profile_length(self) -> int:
        """How many of the J columns come from profiles."""
        return self.length - len(self.price_scale)

    @classmethod
    def fit(cls, chunks: Iterable[Array], profile_columns: int) -> LowRankProjection:
        """The projection for item vectors, (M', V) at a time; the first `profile_columns` are profile and bias (D + 1).

        The directions of least mean square are left out while they hold at most LOST of it, as are prices that are 0
        everywhere. Columns are sorted by mean square, the greatest first.
        """
        count, sums = 0, None
        for chunk in chunks:  # the sums on the chunks' device, the small rest in numpy
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
        deviation = np.sqrt((square / count - (total / count) ** 2).clip(min=0))
        used = np.flatnonzero(square > 0)
        scale = np.where(deviation > 0, deviation, np.sqrt(square / count))[used]
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
        """The arrays to save, by field name."""
        return {"of_items": self.of_items, "of_searches": self.of_searches, "price_scale": self.price_scale}

    def items(self, vectors: Array) -> Array:
        """Low-rank vectors (M, J) of item vectors (M, V)."""
        return vectors @ like(self.of_items, vectors)

    def searches(self, vectors: Array) -> Array:
        """Low-rank vectors (B, J) of search vectors (B, V)."""
        return vectors @ like(self.of_searches, vectors)

    def outside(self, vectors: Array) -> Array:
        """Share (M,) of each profile's squared length that its low-rank vector loses."""
        xp, profile = namespace(vectors), vectors[:, : self.profile_columns]
        whole = xp.sum(profile**2, axis=1)
        held = xp.sum((vectors @ like(self.of_items[:, : self.profile_length], vectors)) ** 2, axis=1)
        return xp.clip(1 - held / xp.clip(whole, np.finfo(np.float32).tiny), 0.0)

    def place(self, short: Array) -> Array:
        """Points (M, F) that low-rank item vectors (M, J) are clustered by: leading profile coordinates and log prices.

        Prices span four orders of magnitude. Without the logarithm all cheap models would coincide, and a high dial
        chooses among those. A factor of e in the price of answers counts as one logit, in the price of prompts half.
        """
        xp, split = namespace(short), self.profile_length
        price = short[:, split:] * like(self.price_scale, short)
        both = xp.stack([price[:, 0], xp.sum(price[:, 1:], axis=1)], axis=1) if price.shape[1] > 1 else price
        weight = like([0.5, 1.0][: both.shape[1]], short)
        return concat([short[:, : min(split, PLACED_BY)], weight * xp.log(xp.clip(both, LEAST_PRICE))], axis=1)


def _blocks(first: NDArray[np.float64], second: NDArray[np.float64]) -> Floats:
    """The block-diagonal matrix of two matrices."""
    rows, columns = first.shape
    found = np.zeros((rows + second.shape[0], columns + second.shape[1]), np.float32)
    found[:rows, :columns], found[rows:, columns:] = first, second
    return found
