"""What one source gives to a folder that is built: queries, outcomes, and what was left out of it and why.

Plain tables. A source's ids are made unique by its name in front.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from router.errors import DataError

QUERY_COLUMNS = ("query_id", "benchmark", "category", "text", "answer", "grade", "tests", "rubric", "held_out")
OUTCOME_COLUMNS = ("query_id", "model", "score", "output_chars", "cost_usd")


@dataclass
class Part:
    """One source's contribution."""

    name: str  # of the benchmark, or the protocol that its outcomes are of
    origin: str  # hub id, file or folder
    queries: pd.DataFrame  # QUERY_COLUMNS; how an answer is graded may be None
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
    """A part of records, or of a table where they are many; absent fields are None.

    Queries without text and scores outside 0 to 1 are left out and counted; an answer given twice counts with its mean.
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
