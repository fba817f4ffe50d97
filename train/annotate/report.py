"""Report of an annotation run: coverage, agreement, failures. Pure counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.llm.form import Filled
from train.annotate.agreement import Agreement
from train.annotate.coverage import RARE_DOMAIN, Coverage
from train.annotate.labels import Labels
from train.annotate.prompt import PROMPT_VERSION

Readings = Mapping[str, "Filled[Labels] | str"]  # annotator -> its labels, or why there are none


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
