"""Taxonomy: the named axes of a query vector, capabilities (C, a closed list) and knowledge domains (K, learned names).

Plain data and JSON. `train.data.taxonomy` merges open-ended names into domains.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from router.errors import CheckpointError

MULTILINGUAL = "multilingual"
# The eight of InferenceDynamics (2505.16303), and writing, which is missing there.
CAPABILITIES = (
    "reasoning",
    "comprehension",
    "instruction following",
    "agentic",
    "knowledge retrieval",
    "coding",
    "in-context learning",
    MULTILINGUAL,
    "writing",
)
OTHER = "other"  # the domain of every name that is too rare to be an axis
RANK_DECAY = 0.5  # alpha of the paper's published code


def rank_weights(n: int, decay: float = RANK_DECAY) -> NDArray[np.float32]:
    """Weights (n,) of ranked labels, `decay**(j-1) / sum_m decay**(m-1)` (InferenceDynamics, 2505.16303); sum to 1.

    >>> rank_weights(2).round(3).tolist()
    [0.6669999957084656, 0.3330000042915344]
    """
    raw = decay ** np.arange(n, dtype=np.float64)
    return (raw / raw.sum()).astype(np.float32)


@dataclass(frozen=True)
class Taxonomy:
    """Axis names in fixed order, and the axis that each raw domain name belongs to."""

    domains: tuple[str, ...]
    aliases: dict[str, str] = field(default_factory=dict)  # raw name -> axis it was merged into
    capabilities: tuple[str, ...] = CAPABILITIES

    def __post_init__(self) -> None:
        axes = self.capabilities + self.domains
        if len(set(axes)) != len(axes) or not self.capabilities or not self.domains:
            raise CheckpointError("a taxonomy needs capabilities and domains, every axis named once")
        unknown = sorted(set(self.aliases.values()) - set(self.domains))
        if unknown:
            raise CheckpointError(f"taxonomy aliases point to unknown domains {unknown[:10]}")

    @property
    def axes(self) -> tuple[str, ...]:
        """All C + K axis names, capabilities first."""
        return self.capabilities + self.domains

    def domain_of(self, name: str) -> str | None:
        """The axis of a raw domain name; `other` for an unknown one, None where the taxonomy has no `other`.

        >>> Taxonomy(("Algebra", "other"), {"Linear Algebra": "Algebra"}).domain_of("Linear Algebra")
        'Algebra'
        """
        if name in self.domains:
            return name
        return self.aliases.get(name) or (OTHER if OTHER in self.domains else None)

    def targets(
        self, capabilities: Sequence[str], knowledge: Sequence[str], decay: float = RANK_DECAY
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Soft targets (C,) and (K,) of ranked names, each of sum 1; names merged into one axis add up."""
        targets = []
        for names, axes in (
            (list(capabilities), self.capabilities),
            ([self.domain_of(name) for name in knowledge], self.domains),
        ):
            target = np.zeros(len(axes), np.float32)
            kept = [name for name in names if name in axes]
            for name, weight in zip(kept, rank_weights(len(kept), decay), strict=True):
                target[axes.index(name)] += weight
            targets.append(target)
        return targets[0], targets[1]

    def to_json(self) -> str:
        """Readable JSON in a stable order."""
        raw = {
            "capabilities": list(self.capabilities),
            "domains": list(self.domains),
            "aliases": dict(sorted(self.aliases.items())),
        }
        return json.dumps(raw, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Taxonomy:
        """The taxonomy in `to_json`'s text; CheckpointError for any other text."""
        try:
            raw = json.loads(text)
            return cls(tuple(raw["domains"]), dict(raw["aliases"]), tuple(raw["capabilities"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"not a taxonomy (capabilities, domains, aliases): {error}") from error
