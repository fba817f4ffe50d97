"""Part of a built folder from one source: tables of queries and outcomes, and counts of what was left out.

Ids of queries begin with the source's name, so that they are unique.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from router.errors import DataError
from router.options import CHARS_PER_TOKEN

QUERY_COLUMNS = ["query_id", "benchmark", "category", "text", "answer", "grade", "tests", "rubric", "held_out"]
OUTCOME_COLUMNS = ["query_id", "model", "score", "output_chars", "cost_usd"]


@dataclass
class Part:
    """Queries and outcomes of one source."""

    name: str  # of the benchmark, or of the outcomes' protocol
    origin: str  # hub id, file or folder
    queries: pd.DataFrame  # QUERY_COLUMNS; those about grading may be None
    outcomes: pd.DataFrame  # OUTCOME_COLUMNS; output_chars and cost_usd may be NaN
    left_out: Counter[str] = field(default_factory=Counter)  # reason -> rows
    verified: bool = False  # whether the reader or row has run on the real data


def make_part(name: str, origin: object, pieces: Iterable[pd.DataFrame], left_out: Counter[str] | None = None) -> Part:
    """A part from tables with a row per query and model, or per query alone; columns may lack, `name` is a benchmark.

    The first row of a query counts. Queries without text and scores outside 0 to 1 are left out and counted; of
    repeated outcomes the mean is kept. DataError where nothing is left.
    """
    left_out = Counter(left_out or {})
    queries, outcomes = [pd.DataFrame(columns=QUERY_COLUMNS)], [pd.DataFrame(columns=OUTCOME_COLUMNS)]
    for piece in pieces:
        queries.append(piece.reindex(columns=QUERY_COLUMNS).drop_duplicates("query_id").astype(object))
        if "model" in piece:
            outcomes.append(piece.reindex(columns=OUTCOME_COLUMNS).dropna(subset="model"))
    q = pd.concat(queries).drop_duplicates("query_id")
    blank = ~q["text"].map(lambda text: isinstance(text, str) and bool(text.strip())).astype(bool)
    left_out["queries without a text"] += int(blank.sum())
    q = q[~blank]
    if q.empty:
        raise DataError(f"{origin}: no query could be read as {name}; left out: {dict(+left_out)}")
    o = pd.concat(outcomes)
    o = o[o["query_id"].isin(q["query_id"])]
    for column in ("score", "output_chars", "cost_usd"):
        o[column] = pd.to_numeric(o[column], errors="coerce").astype(float)
    graded = o[o["score"].between(0, 1)]
    left_out["outcomes without a score from 0 to 1"] += len(o) - len(graded)
    o = graded.groupby(["query_id", "model"], sort=False, as_index=False).mean()
    left_out["outcomes merged with another of the same query and model"] += len(graded) - len(o)
    q["held_out"] = q["held_out"].eq(True)
    q["benchmark"] = q["benchmark"].fillna(name).astype(str)
    q["category"] = q["category"].fillna(q["benchmark"]).astype(str)
    for table in (q, o):
        table["query_id"] = f"{name}/" + table["query_id"].astype(str)
    return Part(name, str(origin), q.reset_index(drop=True), o, +left_out)


def answer_chars(text: object, tokens: float | None) -> float | None:
    """Length of an answer in characters: of its text, otherwise estimated from its tokens; None without both.

    >>> answer_chars("Nile.", 2), answer_chars(None, 2), answer_chars(None, None)
    (5, 8.0, None)
    """
    if isinstance(text, str):
        return len(text)
    return None if tokens is None else float(tokens) * CHARS_PER_TOKEN
