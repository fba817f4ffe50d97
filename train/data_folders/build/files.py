"""Table files: CSV, JSON, JSON lines, Parquet, and pickles if the user trusts them. It does not know schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from router.errors import DataError, UsageError

PICKLES = (".pkl", ".pickle")
TABLES = (".csv", ".json", ".jsonl", ".parquet", *PICKLES)
CHUNK = 200_000  # rows of a CSV in memory at a time


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
