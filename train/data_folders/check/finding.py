"""Findings of the check: an error, warning or note about a data folder, with its place, its rows and advice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

# An error misleads training or measuring, a warning may, a note is good to know.
ERROR, WARNING, NOTE = LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Finding of one rule."""

    level: str  # of LEVELS
    kind: str  # such as "format artefact"; a rule reports one or two kinds
    where: str  # benchmark, protocol or model
    what: str  # a sentence with the figures
    advice: str  # what to do
    count: int  # rows concerned: queries, answers or models
    rows: tuple[str, ...] = ()  # their ids, in the order they should be looked at

    def to_json(self) -> dict[str, Any]:
        """A JSON object with every row."""
        return asdict(self)


def most_severe_first(findings: Iterable[Finding]) -> list[Finding]:
    """The findings by level; within a level in their order."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))
