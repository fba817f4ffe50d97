"""Graded answers: scores of one model on queries, and their file format, one JSON object per line.

    {"query": "2+2?", "score": 1, "output_tokens": 12}

`score` lies in [0, 1]; `output_tokens` may be missing. A single bad line refuses the whole file, since a wrong grade
would fit a wrong profile. Axis: n answers.
"""

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import DataError
from router.onboarding.json_lines import query_text, read_json_lines

MOST_TOKENS = 10_000_000  # in one answer


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
    """The answers in a JSONL file; the DataError for a bad file lists the first problems."""
    found = read_json_lines(path, "answer", '{"query": "2+2?", "score": 1}', _answer)
    return make_answers(*zip(*found, strict=True))


def _answer(found: Mapping[str, Any]) -> tuple[str, float, float]:
    """Query, score and output tokens of one line; ValueError with the problem of a bad line."""
    query = query_text(found)
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
