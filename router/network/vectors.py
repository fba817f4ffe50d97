"""Query vectors and learned profiles as arrays, and the dimensions that fix every shape of a network.

Numpy or torch; no names, no prices. The last P columns of a query vector carry the difficulty under each protocol, so
that logits stay one product. Axes: B queries, C capabilities, K knowledge domains, R latent residual, L likeness to
prototypes, P protocols, S systems, D = C + K + R + L + P, F numbers of a profile's row (its columns, slope, bias).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from router.arrays import Array, concat, like, one_hot

SHARPNESS = 4.0  # of the prototypes' kernel, which is 1 at a cosine of 1 and exp(-4) = 1.8% at a cosine of 0
CATEGORY_SCALE = 0.5  # of a category's probability; the smaller it is, the harder training pulls its weights to 0
SHORTEST = 1e-12  # a vector shorter than this has no direction
ALWAYS_FAMILIAR = (2e-6, 1e-6)  # kernels with familiarity 1 and 1/2, below the least one, exp(-2 SHARPNESS)
MIDDLE = 3.0  # of the levels, 1 to 5


@dataclass(frozen=True)
class Dimensions:
    """Sizes of a network's axes."""

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
    """Query vectors of B queries, as numpy arrays or tensors."""

    vector: Array  # (B, D): capability, knowledge, residual, likeness, difficulty
    log_length: Array  # (B, P), log of the factor on a system's usual answer length
    level: Array  # (B,), difficulty on the scale of the annotations, 1 to 5, not clipped
    familiarity: Array  # (B,) in (0, 1], nearness to training queries with answers; 1 at usual distances
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
        """(B, R), latent needs without a name."""
        return self.vector[:, self.size.named : self.size.learned]

    @property
    def likeness(self) -> Array:
        """(B, L), likeness to prototypes."""
        return self.vector[:, self.size.learned : self.size.columns]

    @property
    def difficulty(self) -> Array:
        """(B, P), difficulty in logits under each protocol."""
        return self.vector[:, self.size.columns :]

    def take(self, rows: Array | slice) -> QueryVectors:
        """The query vectors at `rows`, (N,) or a slice."""
        parts = (part[rows] for part in (self.vector, self.log_length, self.level, self.familiarity))
        vector, log_length, level, familiarity = parts
        return QueryVectors(vector, log_length, level, familiarity, self.size)


@dataclass(frozen=True, eq=False)
class LearnedProfiles:
    """The learned numbers of S systems, under their names in `heads.safetensors`."""

    weight: Array  # (S, C + K + R + L)
    slope: Array  # (S,) logits that a unit of difficulty costs the system
    bias: Array  # (S,)
    log_tokens: Array  # (S,) log of the usual answer length
    protocol: Array  # (S,) column of the system's protocol
    mean_score: Array  # (S,) over the system's training rows, as the next two
    mean_input_tokens: Array  # (S,)
    mean_output_tokens: Array  # (S,)
    protocols: int  # P

    def matrix(self) -> Array:
        """Profiles (S, D) in the query vector's layout; of the difficulty columns the system's own holds -slope."""
        own = one_hot(self.protocol, self.protocols, self.weight)
        return concat([self.weight, -self.slope[:, None] * own], axis=1)

    def rows(self) -> Array:
        """Rows (S, F): weights, slope of difficulty, bias."""
        return concat([self.weight, self.slope[:, None], self.bias[:, None]], axis=1)

    def extended(self, rows: Array, others: Mapping[str, Array]) -> LearnedProfiles:
        """These systems and, after them, U more with `rows` (U, F) and the `others`, (U,) by field."""
        new = {"weight": rows[:, :-2], "slope": rows[:, -2], "bias": rows[:, -1], **others}
        joined = {name: concat([old := getattr(self, name), like(new[name], old)]) for name in ARRAYS}
        return LearnedProfiles(**joined, protocols=self.protocols)


ARRAYS = tuple(each.name for each in fields(LearnedProfiles) if each.name != "protocols")
