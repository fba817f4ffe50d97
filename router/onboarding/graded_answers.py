"""Graded answers: scores of one model on queries, and their file format, one JSON object per line.

    {"query": "2+2?", "score": 1, "output_tokens": 12}

`score` lies in [0, 1]; `output_tokens` may be missing. A single bad line refuses the whole file, since a wrong grade
would fit a wrong profile. Axis: n answers.
"""

import json
import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.errors import DataError

QUERY_KEYS = ("query", "text")
MOST_TOKENS = 10_000_000  # in one answer
SHOWN = 10  # problems that one message lists


@dataclass(frozen=True, eq=False)
class Answers:
    """Graded answers of one model."""

    queries: tuple[str, ...]  # (n,)
    score: NDArray[np.float64]  # (n,) in [0, 1]
    output_tokens: NDArray[np.float64]  # (n,); NaN where unknown

    def __post_init__(self) -> None:
        if not len(self.queries) == len(self.score) == len(self.output_tokens):
            raise DataError(
                f"answers must be of one length, got {len(self.queries)} queries, {len(self.score)} scores and "
                f"{len(self.output_tokens)} token counts"
            )
        if not ((self.score >= 0) & (self.score <= 1)).all():
            raise DataError("every score of an answer must lie in [0, 1]")
        tokens = self.output_tokens
        if not (np.isnan(tokens) | ((tokens >= 0) & (tokens <= MOST_TOKENS))).all():
            raise DataError(f"output_tokens of an answer must lie in 0 to {MOST_TOKENS}, or be NaN where unknown")


def make_answers(
    queries: Sequence[str], score: Sequence[float], output_tokens: Sequence[float] | None = None
) -> Answers:
    """Answers from plain lists; lengths are unknown without `output_tokens`. DataError for unusable values."""
    tokens = np.full(len(queries), np.nan) if output_tokens is None else np.array(output_tokens, np.float64)
    return Answers(tuple(queries), np.array(score, np.float64), tokens)


def read_answers(path: str | Path) -> Answers:
    """The answers in a JSONL file; the DataError for a bad file lists the first ten problems."""
    file, problems = Path(path), []
    found: list[tuple[str, float, float]] = []
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the answers in {file}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(_answer(line))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        rest = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        listed = "\n  ".join(problems[:SHOWN])
        raise DataError(f"{file}: nothing was fitted, since some answers are not usable:\n  {listed}{rest}")
    if not found:
        raise DataError(f'{file} holds no answer; write one per line, such as {{"query": "2+2?", "score": 1}}')
    return make_answers(*zip(*found, strict=True))


def _answer(line: str) -> tuple[str, float, float]:
    """Query, score and output tokens of one line; ValueError with the problem of a bad line."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'not JSON ({str(error)[:80]}); write {{"query": "...", "score": 1}}') from error
    if not isinstance(found, dict):
        raise ValueError(f'a JSON {type(found).__name__}, not an object; write {{"query": "...", "score": 1}}')
    query = next((found[key] for key in QUERY_KEYS if key in found), None)
    if not isinstance(query, str) or not query.strip():
        raise ValueError(f"query must be text that is not blank, got {reprlib.repr(query)}")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"query is not valid Unicode ({error.reason} at character {error.start})") from error
    score, tokens = _number(found.get("score")), _number(found.get("output_tokens"))
    if not 0 <= score <= 1:
        raise ValueError(f"score must be a number from 0 to 1, got {reprlib.repr(found.get('score'))}")
    if found.get("output_tokens") is not None and not 0 <= tokens <= MOST_TOKENS:
        raise ValueError(
            f"output_tokens must be a number from 0 to {MOST_TOKENS}, or missing, got "
            f"{reprlib.repr(found['output_tokens'])}"
        )
    return query, score, tokens


def _number(value: object) -> float:
    """The number as a float; NaN for any other value."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan
