"""Findings of the check: an error, warning or note about a data folder, with its place, its rows and advice."""

from __future__ import annotations

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
    count: int | None = None  # queries, answers or models concerned; None: as many as `rows`
    rows: tuple[str, ...] = ()  # their ids, in the order they should be looked at

    def to_json(self) -> dict[str, Any]:
        """A JSON object with every row."""
        return asdict(self) | {"count": len(self.rows) if self.count is None else self.count}
