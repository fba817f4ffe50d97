"""Files of one JSON object per line, each about a query. A single bad line refuses the whole file."""

import json
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from router.batch.lines import QUERY_KEYS
from router.errors import DataError

Line = TypeVar("Line")
SHOWN = 10  # problems that one message lists


def read_json_lines(path: str | Path, what: str, example: str, read: Callable[[Mapping[str, Any]], Line]) -> list[Line]:
    """What `read` makes of each line's object; its ValueError says what is wrong with one.

    `what` names the lines and `example` is one, both for messages. The DataError for a bad file lists the first SHOWN
    problems.
    """
    file, problems = Path(path), []
    found: list[Line] = []
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the {what}s in {file}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(read(_fields(line, example)))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        rest = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        listed = "\n  ".join(problems[:SHOWN])
        raise DataError(f"{file}: nothing was fitted, since some {what}s are not usable:\n  {listed}{rest}")
    if not found:
        raise DataError(f"{file} holds no {what}; write one per line, such as {example}")
    return found


def _fields(line: str, example: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({str(error)[:80]}); write {example}") from error
    if not isinstance(found, dict):
        raise ValueError(f"a JSON {type(found).__name__}, not an object; write {example}")
    return found


def query_text(fields: Mapping[str, Any]) -> str:
    """The query of a line; ValueError where there is none."""
    query = next((fields[key] for key in QUERY_KEYS if key in fields), None)
    if not isinstance(query, str) or not query.strip():
        raise ValueError(f"query must be text that is not blank, got {reprlib.repr(query)}")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"query is not valid Unicode ({error.reason} at character {error.start})") from error
    return query
