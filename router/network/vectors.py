"""What the network reads in queries, and the sizes that fix every shape.

Axes: B queries, C capabilities, K knowledge domains, R latent residual, L likeness to prototypes, P protocols, S
systems, D = C + K + R + L + P. The last P columns carry each protocol's difficulty, so that logits stay one product.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.arrays import Array


@dataclass(frozen=True)
class Dimensions:
    """Axis sizes that fix every shape of a network."""

    embedding: int
    capabilities: int
    domains: int
    protocols: int
    systems: int
    residual: int = 0
    hidden: int = 384
    prototypes: int = 0
    likeness: int = 0
    categories: int = 0

    def __post_init__(self) -> None:
        wrong = {name: value for name, value in vars(self).items() if not isinstance(value, int) or value < 0}
        if wrong:
            raise TypeError(f"dimensions are whole numbers of at least 0, got {wrong}")

    @property
    def named(self) -> int:
        """C + K, the axes that have a name."""
        return self.capabilities + self.domains

    @property
    def learned(self) -> int:
        """C + K + R, the axes on which profiles are trained by gradient."""
        return self.named + self.residual

    @property
    def columns(self) -> int:
        """C + K + R + L, the axes on which a system has a weight of its own."""
        return self.learned + self.likeness


@dataclass(frozen=True)
class QueryVectors:
    """What the network reads in B queries, as numpy arrays or tensors."""

    vector: Array  # (B, D): capability, knowledge, residual, likeness, difficulty
    log_length: Array  # (B, P), log of the factor by which answers are longer than the system's usual
    size: Dimensions

    @property
    def capability(self) -> Array:
        """(B, C) in [0, 1], rows sum to 1: how much the query needs each capability."""
        return self.vector[:, : self.size.capabilities]

    @property
    def knowledge(self) -> Array:
        """(B, K) in [0, 1], rows sum to 1: how much the query touches each domain."""
        return self.vector[:, self.size.capabilities : self.size.named]

    @property
    def residual(self) -> Array:
        """(B, R)."""
        return self.vector[:, self.size.named : self.size.learned]

    @property
    def likeness(self) -> Array:
        """(B, L)."""
        return self.vector[:, self.size.learned : self.size.columns]

    @property
    def difficulty(self) -> Array:
        """(B, P), in logits, one per protocol."""
        return self.vector[:, self.size.columns :]

    def take(self, rows: Array | slice) -> QueryVectors:
        """Those of the queries at `rows` (N,), or in a slice."""
        return QueryVectors(self.vector[rows], self.log_length[rows], self.size)
