"""Command `python -m train check DIR`: the problems of a data folder. Exit 0: none; 3: some.

Exit 1: the folder cannot be read; 2: bad usage. Notes alone are no problems: the exit code is 0.
"""

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path

from router.errors import DataError, UsageError
from router.evaluation.dataset import data_folder
from router.files import atomic_write
from train.data_folders.check.finding import LEVELS, NOTE, Finding, as_json, as_markdown, as_text, counted
from train.data_folders.check.folder import read_folder
from train.data_folders.check.rules.agreement import artefact_findings, scrambled_findings
from train.data_folders.check.rules.constants import constant_findings, gap_findings
from train.data_folders.check.rules.contradictions import contradiction_findings
from train.data_folders.check.rules.metadata import label_findings, price_findings
from train.data_folders.check.rules.texts import duplicate_findings, instruction_findings

# Frozen in tests/golden/flags-train.txt.
DESCRIPTION = """\
What is wrong with a data folder: `python -m train check DIR`. Exit 0: nothing; 3: a warning or an error was found.

Also 1 where the folder cannot be read, 2 on bad usage. Notes alone do not count."""
FOUND = 3  # exit code
FORMS = {".json": as_json, ".md": as_markdown}
CHECKS = (
    duplicate_findings,
    contradiction_findings,
    constant_findings,
    artefact_findings,
    scrambled_findings,
    gap_findings,
    instruction_findings,
    label_findings,
)


def check(folder: str | Path, today: datetime.date | None = None) -> list[Finding]:
    """All findings, the most severe first; DataError where the folder cannot be read."""
    checked = read_folder(data_folder(folder))
    found = [finding for each in CHECKS for finding in each(checked)]
    found += price_findings(checked, today or datetime.date.today())
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def exit_code(findings: Sequence[Finding]) -> int:
    """FOUND where a finding is a warning or an error, otherwise 0."""
    return FOUND if any(finding.level != NOTE for finding in findings) else 0


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-11-25") from error


def main(args: list[str] | None = None) -> int:
    """Print the findings, and write them to `--output`."""
    parser = argparse.ArgumentParser(prog="python -m train check", description=DESCRIPTION)
    parser.add_argument("folder", nargs="?", help="data folder; default ROUTEMIX_DIR, else data/routemix-open")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write FILE.json (every row) or FILE.md")
    parser.add_argument("--as-of", type=_day, metavar="DAY", help="of the prices' age (default: today)")
    options = parser.parse_args(args)
    try:
        form = FORMS.get(options.output.suffix) if options.output else None
        if options.output and (form is None or not options.output.parent.is_dir()):
            raise UsageError(f"cannot write --output {options.output}: name a .json or .md file in an existing folder")
        folder = data_folder(options.folder)
        findings = check(folder, options.as_of)
        if form:
            atomic_write(options.output, form(str(folder), findings).encode())
    except OSError as error:
        raise DataError(str(error)) from error
    if findings:
        print(as_text(findings), end="\n\n")
    print(f"{folder}: {counted(findings)}")
    return exit_code(findings)
