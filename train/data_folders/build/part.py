"""Part of a built folder from one source: tables of queries and outcomes, and counts of what was left out.

Ids of queries begin with the source's name, so that they are unique.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from router.errors import DataError
from router.options import CHARS_PER_TOKEN

QUERY_COLUMNS = ("query_id", "benchmark", "category", "text", "answer", "grade", "tests", "rubric", "held_out")
OUTCOME_COLUMNS = ("query_id", "model", "score", "output_chars", "cost_usd")


@dataclass
class Part:
    """Queries and outcomes of one source."""

    name: str  # of the benchmark, or of the outcomes' protocol
    origin: str  # hub id, file or folder
    queries: pd.DataFrame  # QUERY_COLUMNS; those about grading may be None
    outcomes: pd.DataFrame  # OUTCOME_COLUMNS; output_chars and cost_usd may be NaN
    left_out: Counter[str] = field(default_factory=Counter)  # reason -> rows
    verified: bool = False  # whether the reader or row has run on the real data


def make_part(
    name: str,
    origin: object,
    queries: Iterable[Mapping[str, Any]],
    outcomes: Iterable[Mapping[str, Any]] | pd.DataFrame = (),
    left_out: Counter[str] | None = None,
) -> Part:
    """A part from records, or from a table where outcomes are many; absent fields are None.

    Queries without text and scores outside 0 to 1 are left out and counted; of repeated outcomes the mean is kept.
    DataError where nothing is left.
    """
    left_out = Counter(left_out or {})
    q = pd.DataFrame.from_records(list(queries)).reindex(columns=QUERY_COLUMNS)
    o = outcomes if isinstance(outcomes, pd.DataFrame) else pd.DataFrame.from_records(list(outcomes))
    o = o.reindex(columns=OUTCOME_COLUMNS)
    q = q.drop_duplicates("query_id")
    blank = ~q["text"].map(lambda text: isinstance(text, str) and bool(text.strip()))
    left_out["queries without a text"] += int(blank.sum())
    q = q[~blank]
    o = o[o["query_id"].isin(set(q["query_id"]))]
    number = pd.to_numeric(o["score"], errors="coerce")
    odd = ~number.between(0, 1)
    left_out["outcomes without a score from 0 to 1"] += int(odd.sum())
    o = o.assign(score=number)[~odd]
    for column in ("output_chars", "cost_usd"):
        o[column] = pd.to_numeric(o[column], errors="coerce").astype(float)
    n = len(o)
    o = o.groupby(["query_id", "model"], sort=False, as_index=False).mean()
    left_out["outcomes merged with another of the same query and model"] += n - len(o)
    if q.empty:
        raise DataError(f"{origin}: no query could be read as {name}; left out: {dict(+left_out)}")
    q["held_out"] = q["held_out"].eq(True)
    q["category"] = q["category"].astype(object).where(q["category"].notna(), q["benchmark"]).astype(str)
    prefix = f"{name}/"
    q["query_id"], o["query_id"] = prefix + q["query_id"].astype(str), prefix + o["query_id"].astype(str)
    return Part(name, str(origin), q.reset_index(drop=True), o.reset_index(drop=True), +left_out)


def text_id(text: str) -> str:
    """An id for a query without one: the first 16 hexadecimal digits of the text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def answer_chars(text: object, tokens: float | None) -> float | None:
    """Length of an answer in characters: of its text, otherwise estimated from its tokens; None without both.

    >>> answer_chars("Nile.", 2), answer_chars(None, 2), answer_chars(None, None)
    (5, 8.0, None)
    """
    if isinstance(text, str):
        return len(text)
    return None if tokens is None else float(tokens) * CHARS_PER_TOKEN
