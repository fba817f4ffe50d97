"""One thing that is wrong with a data folder, or worth knowing: where, how many rows, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

# An error misleads training or measuring, a warning may, a note is good to know.
ERROR, WARNING, NOTE = LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """What a check reports."""

    level: str  # of LEVELS
    kind: str  # such as "format artefact"; one check reports one or two kinds
    where: str  # benchmark, protocol, model: what to look at
    what: str  # a sentence with the figures
    advice: str  # what to do
    count: int  # rows concerned: queries, answers or models
    rows: tuple[str, ...] = ()  # their ids, in the order they should be looked at

    def to_json(self) -> dict[str, Any]:
        """A JSON object with every row."""
        return asdict(self)


def most_severe_first(findings: Iterable[Finding]) -> list[Finding]:
    """By level, then as they came."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))
