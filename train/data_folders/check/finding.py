"""Findings of the check, with place, rows and advice, and their reports: text for a terminal, Markdown, JSON."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

# An error misleads training or measuring, a warning may, a note is good to know.
ERROR, WARNING, NOTE = LEVELS = ("error", "warning", "note")
SHOWN_ROWS = 5
WIDTH = 110


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


def counted(findings: Sequence[Finding]) -> str:
    """Counts of the findings of each level, in one line.

    >>> counted([Finding("error", "gaps", "here", "what", "do", 1)])
    '1 error, 0 warnings, 0 notes'
    """
    numbers = [sum(finding.level == level for finding in findings) for level in LEVELS]
    return ", ".join(f"{n} {level}{'s' * (n != 1)}" for n, level in zip(numbers, LEVELS, strict=True))


def as_text(findings: Sequence[Finding]) -> str:
    """Text for a terminal: a paragraph per finding."""
    parts = []
    for finding in findings:
        lines = [f"{finding.level:<8} {finding.kind}: {finding.where}"]
        sentences = [finding.what, f"do: {finding.advice}"] + ([f"rows: {_rows(finding)}"] if finding.rows else [])
        lines += [textwrap.fill(each, WIDTH, initial_indent=" " * 9, subsequent_indent=" " * 13) for each in sentences]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def as_markdown(folder: str, findings: Sequence[Finding]) -> str:
    """Markdown page with a table of all findings."""
    rows = [
        f"| {f.level} | {f.kind} | {_cell(f.where)} | {_cell(f.what)} | {_cell(f.advice)} | {_cell(_rows(f))} |"
        for f in findings
    ]
    head = ["| level | finding | where | what | what to do | rows |", "|---|---|---|---|---|---|"]
    return "\n".join([f"# Check of {folder}", "", counted(findings), "", *head, *rows]) + "\n"


def as_json(folder: str, findings: Sequence[Finding]) -> str:
    """JSON text with every row of every finding."""
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    report = {"folder": folder, **counts, "findings": [finding.to_json() for finding in findings]}
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def _rows(finding: Finding) -> str:
    more = len(finding.rows) - SHOWN_ROWS
    return ", ".join(finding.rows[:SHOWN_ROWS]) + (f" and {more:,} more" if more > 0 else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
