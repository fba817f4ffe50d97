"""The numbers that were learned of every system, as plain arrays: what routing reads of a network beside its heads.

Knows no names and no prices. Axes: S systems, D vector, P protocols, F numbers of a row (its columns, slope, bias).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from router.arrays import Array, concat, like, one_hot


@dataclass(frozen=True, eq=False)
class LearnedProfiles:
    """One row per system, by the names that they have in `heads.safetensors`."""

    weight: Array  # (S, C + K + R + L)
    slope: Array  # (S,) what a unit of difficulty costs the system, in logits
    bias: Array  # (S,)
    log_tokens: Array  # (S,) log of its usual answer length
    protocol: Array  # (S,) column of its protocol
    mean_score: Array  # (S,) over its training rows, as the next two
    mean_input_tokens: Array  # (S,)
    mean_output_tokens: Array  # (S,)
    protocols: int  # P

    def matrix(self) -> Array:
        """Profiles (S, D) in the query vector's layout; the difficulty columns hold -slope at the own protocol."""
        own = one_hot(self.protocol, self.protocols, self.weight)
        return concat([self.weight, -self.slope[:, None] * own], axis=1)

    def rows(self) -> Array:
        """Rows (S, F): weights, slope of difficulty, bias."""
        return concat([self.weight, self.slope[:, None], self.bias[:, None]], axis=1)

    def extended(self, rows: Array, others: Mapping[str, Array]) -> LearnedProfiles:
        """With systems behind these of which `rows` (U, F) and `others`, (U,) by field, are given."""
        new = {"weight": rows[:, :-2], "slope": rows[:, -2], "bias": rows[:, -1], **others}
        joined = {name: concat([old := getattr(self, name), like(new[name], old)]) for name in ARRAYS}
        return LearnedProfiles(**joined, protocols=self.protocols)


ARRAYS = tuple(each.name for each in fields(LearnedProfiles) if each.name != "protocols")
