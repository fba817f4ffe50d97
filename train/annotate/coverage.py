"""Label coverage: how often each axis was named, and which axes are too rare to learn a profile. Pure counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from router.cli.text import table
from router.network.taxonomy import CAPABILITIES
from train.annotate.labels import Labels

RARE_CAPABILITY = 50  # with fewer answers on an axis, a profile's entry is mostly noise
RARE_DOMAIN = 10  # as in the consolidation of a training run (`data.minimum_count`)
SHOWN = 12


@dataclass
class Coverage:
    """Counts of one annotator's labels."""

    queries: int = 0
    capabilities: Counter[str] = field(default_factory=Counter)
    first: Counter[str] = field(default_factory=Counter)
    knowledge: Counter[str] = field(default_factory=Counter)

    def add(self, labels: Labels) -> None:
        """Count one query."""
        self.queries += 1
        self.capabilities.update(labels.capabilities)
        self.first[labels.capabilities[0]] += 1
        self.knowledge.update(labels.knowledge)

    @property
    def rare_capabilities(self) -> list[str]:
        """Capabilities that fewer than RARE_CAPABILITY queries need, the rarest first."""
        return _rare(self.capabilities, CAPABILITIES, RARE_CAPABILITY)

    @property
    def rare_domains(self) -> list[str]:
        """Domains named fewer than RARE_DOMAIN times, the rarest first."""
        return _rare(self.knowledge, self.knowledge, RARE_DOMAIN)

    def to_json(self) -> dict[str, object]:
        """All counts."""
        return {
            "queries": self.queries,
            "capabilities": {name: self.capabilities[name] for name in CAPABILITIES},
            "first_capability": {name: self.first[name] for name in CAPABILITIES},
            "knowledge": dict(self.knowledge.most_common()),
            "rare_capabilities": self.rare_capabilities,
            "rare_domains": self.rare_domains,
        }

    def lines(self) -> list[str]:
        """Counts as a table, with advice on rare axes."""
        rows = [[name, f"{self.capabilities[name]:,}", f"{self.first[name]:,}"] for name in CAPABILITIES]
        lines = table(["capability", "queries", "first"], rows, right=(1, 2))
        top = ", ".join(f"{name} {n:,}" for name, n in self.knowledge.most_common(SHOWN))
        lines += ["", f"knowledge domains: {len(self.knowledge):,} names; most often {top}"]
        if rare := self.rare_capabilities:
            names = ", ".join(f"{name} ({self.capabilities[name]})" for name in rare)
            lines.append(f"rare capabilities, under {RARE_CAPABILITY} queries: {names}. Add queries that need them")
        if rare := self.rare_domains:
            more = f", and {len(rare) - SHOWN:,} more" if len(rare) > SHOWN else ""
            names = f"{', '.join(rare[:SHOWN])}{more}"
            lines.append(
                f"rare domains, under {RARE_DOMAIN} queries: {names}. Training merges each with a similar domain, or "
                "with `other`"
            )
        return lines


def _rare(count: Counter[str], names: Iterable[str], least: int) -> list[str]:
    return sorted((name for name in names if count[name] < least), key=lambda name: (count[name], name))
