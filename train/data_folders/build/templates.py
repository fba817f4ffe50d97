"""Templates for prompts and answers: dotted paths into a benchmark's row, `{path}` in templates, lettered options.

A row is what `datasets` gives: a dict of values, lists and dicts.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from router.errors import DataError

PLACE = re.compile(r"\{([^{}]+)\}")


def lookup(row: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; numbers index lists, and text that the path enters is read as JSON.

    >>> lookup({"choices": {"text": ["a", "b"]}}, "choices.text.1"), lookup({"q": '["one"]'}, "q.0")
    ('b', 'one')
    """
    value: Any = row
    parts = [path] if path in row else path.split(".")
    for part in parts:
        if isinstance(value, str):
            value = json.loads(value)
        try:
            value = value[int(part)] if isinstance(value, Sequence) else value[part]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            keys = list(value) if isinstance(value, Mapping) else type(value).__name__
            raise DataError(f"no field {path!r} in a row (at {part!r}, there is {keys})") from error
    return value


def as_text(value: Any) -> str:
    """A value as text: lists line by line, tables with bars, nothing for None.

    >>> as_text([["year", "sum"], [2020, 7]])
    'year | sum\\n2020 | 7'
    """
    if value is None:
        return ""
    if isinstance(value, Mapping) and {"columns", "data"} <= set(value):
        value = [value["columns"], *value["data"]]
    if isinstance(value, list | tuple):
        return "\n".join(
            " | ".join(str(cell) for cell in each) if isinstance(each, list | tuple) else str(each) for each in value
        )
    return str(value).strip()


def fill(template: str, row: Mapping[str, Any]) -> str:
    """The template with each `{path}` replaced by the row's value there.

    >>> fill("{question} Answer in {language.name}.", {"question": "2+2?", "language": {"name": "Latin"}})
    '2+2? Answer in Latin.'
    """
    return PLACE.sub(lambda place: as_text(lookup(row, place[1])), template).strip()


def lettered(options: Sequence[str]) -> str:
    """Options as lines with letters.

    >>> lettered(["yes", "no"])
    '(A) yes\\n(B) no'
    """
    return "\n".join(
        f"({letter}) {as_text(each)}" for letter, each in zip(string.ascii_uppercase, options, strict=False)
    )


def letter_of(answer: Any, options: Sequence[str], labels: Sequence[str] | None = None) -> str:
    """The letter of an answer given as an index from 0, a letter, a label of `labels`, or one of the options' texts.

    >>> letter_of(1, ["x", "y"]), letter_of("b", ["x", "y"]), letter_of("2", ["x", "y"], ["1", "2"])
    ('B', 'B', 'B')
    """
    letters = string.ascii_uppercase[: len(options)]
    if labels is not None and str(answer) in labels:
        return letters[list(labels).index(str(answer))]
    if not isinstance(answer, bool) and isinstance(answer, int) and 0 <= answer < len(options):
        return letters[answer]
    if str(answer) in options:
        return letters[list(options).index(str(answer))]
    if str(answer).strip().upper() in letters and str(answer).strip():
        return str(answer).strip().upper()
    raise DataError(f"the answer {answer!r} is none of the options {list(options)[:5]}")
