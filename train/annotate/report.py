"""Report of an annotation run: coverage (axes too rare to learn a profile), agreement, failures. Pure counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.cli.text import table
from router.llm.form import Filled
from router.network.taxonomy import CAPABILITIES
from train.annotate.agreement import Agreement
from train.annotate.labels import Labels
from train.annotate.prompt import PROMPT_VERSION

RARE_CAPABILITY = 50  # with fewer answers on an axis, a profile's entry is mostly noise
RARE_DOMAIN = 10  # as in the consolidation of a training run (`data.minimum_count`)
SHOWN = 12

Readings = Mapping[str, "Filled[Labels] | str"]  # annotator -> its labels, or why there are none


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


@dataclass
class Report:
    """Figures of a run."""

    annotators: Iterable[str]
    capabilities: Agreement = field(default_factory=Agreement)
    knowledge: Agreement = field(default_factory=Agreement)
    repaired: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        self.coverage = {name: Coverage() for name in self.annotators}

    def add(self, readings: Readings) -> None:
        """Count one query."""
        filled = {name: each for name, each in readings.items() if isinstance(each, Filled)}
        self.failed += len(readings) - len(filled)
        self.repaired += sum(each.answers > 1 for each in filled.values())
        for name, each in filled.items():
            self.coverage[name].add(each.value)
        if len(filled) > 1:
            self.capabilities.add([each.value.capabilities for each in filled.values()])
            self.knowledge.add([[name.casefold() for name in each.value.knowledge] for each in filled.values()])

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "prompt_version": PROMPT_VERSION,
            "repaired": self.repaired,
            "failed": self.failed,
            "coverage": {name: each.to_json() for name, each in self.coverage.items()},
            "agreement": {
                "capabilities": self.capabilities.to_json(1),
                "knowledge": self.knowledge.to_json(RARE_DOMAIN),
            },
        }

    def lines(self) -> list[str]:
        """Coverage of the first annotator, which training reads, and agreement where there are several annotators."""
        lines = next(iter(self.coverage.values())).lines()
        for kind, agreement, least in (
            ("capabilities", self.capabilities, 1),
            ("knowledge domains", self.knowledge, RARE_DOMAIN),
        ):
            if agreement.pairs:
                lines += ["", *_agreement_lines(kind, agreement.to_json(least))]
        return lines


def _agreement_lines(kind: str, found: Mapping[str, Any]) -> list[str]:
    axes = ", ".join(f"{name} {_figure(value)}" for name, value in found["alpha"].items())
    return [
        f"agreement on {kind}, {found['queries']:,} queries: first label {_figure(found['first_label_agreement'])} "
        f"(Krippendorff's alpha {_figure(found['first_label_alpha'])}), Jaccard {_figure(found['mean_jaccard'])}",
        f"  alpha per axis: {axes or 'none was named often enough'}",
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _rare(count: Counter[str], names: Iterable[str], least: int) -> list[str]:
    return sorted((name for name in names if count[name] < least), key=lambda name: (count[name], name))
