"""What readers of sources share: table files, and the part of a built folder that one source makes.

Files are CSV, JSON, JSON lines, Parquet, and pickles if the user trusts them. A part has tables of queries and
outcomes, and counts of what was left out. Ids of queries begin with the source's name, so that they are unique.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from router.errors import DataError, UsageError
from router.options import CHARS_PER_TOKEN

PICKLES = (".pkl", ".pickle")
TABLES = (".csv", ".json", ".jsonl", ".parquet", *PICKLES)
CHUNK = 200_000  # rows of a CSV in memory at a time
QUERY_COLUMNS = ["query_id", "benchmark", "category", "text", "answer", "grade", "tests", "rubric", "held_out"]
OUTCOME_COLUMNS = ["query_id", "model", "score", "output_chars", "cost_usd"]


def tables(
    path: Path, columns: tuple[str, ...] = (), optional: tuple[str, ...] | None = None, trust_pickle: bool = False
) -> Iterator[pd.DataFrame]:
    """The tables of a file, or of all files of a folder; CSVs in pieces of CHUNK rows.

    A table must have all `columns`. With `optional`, only `columns` and `optional` are read.

    Raises:
        UsageError: a pickle that is not trusted, since reading a pickle runs its maker's code.
        DataError: there is no table, or one cannot be read or lacks a column.
    """
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.suffix in TABLES)
    if not files:
        raise DataError(f"{path}: no file of {', '.join(TABLES)}")
    for file in files:
        if file.suffix in PICKLES and not trust_pickle:
            raise UsageError(
                f"{file} is a pickle, and reading a pickle runs whatever code its maker put in: give --trust-pickle if "
                "you trust its source, or convert it to Parquet where nothing can be lost"
            )
        try:
            for table in _pieces(file, None if optional is None else {*columns, *optional}):
                missing = [name for name in columns if name not in table]
                if missing:
                    raise DataError(f"{file} lacks the columns {missing}; it has {list(table.columns)[:12]}")
                yield table
        except DataError:
            raise
        except Exception as error:  # pandas, pyarrow and pickle raise errors of many types
            raise DataError(f"{file} cannot be read: {error}") from error


def _pieces(file: Path, wanted: set[str] | None) -> Iterator[pd.DataFrame]:
    if file.suffix == ".csv":
        yield from pd.read_csv(file, chunksize=CHUNK, usecols=None if wanted is None else wanted.__contains__)
    elif file.suffix == ".parquet":
        import pyarrow.parquet as pq

        names = None if wanted is None else [name for name in pq.read_schema(file).names if name in wanted]
        yield pd.read_parquet(file, columns=names)
    elif file.suffix in PICKLES:
        yield pd.read_pickle(file)  # trusted by the user: see `tables`
    else:
        yield pd.DataFrame.from_records(records(file))


def records(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSON file with a list, or of JSON lines."""
    text = file.read_text(encoding="utf-8")
    try:
        lines = text.split("\n") if file.suffix == ".jsonl" else None
        found = json.loads(text) if lines is None else [json.loads(line) for line in lines if line.strip()]
    except json.JSONDecodeError as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise DataError(f"{file}: expected a list of JSON objects")
    return found


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
