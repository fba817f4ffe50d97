"""Query files, read one query at a time: text lines, JSON lines, CSV, Parquet, or a data folder's queries.

Memory does not grow with the file.
"""

import csv
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.batch.lines import BYTE_ORDER_MARK, MAX_LINE_BYTES, QUERY_KEYS, read_lines
from router.errors import DataError

ID_KEYS = ("query_id", "id")
SHOWN = 10  # problems of a file in a message


@dataclass(frozen=True)
class QueryRow:
    """One query of a file."""

    query_id: str  # from the file, or from the text's hash
    text: str
    fields: Mapping[str, Any]  # its other columns, without empty values
    named: bool  # whether the id is from the file


@dataclass(frozen=True)
class Survey:
    """Counts of a file's queries."""

    queries: int
    repeated: int  # repeated texts without an id, which are left out


def read_queries(path: Path) -> Iterator[QueryRow]:
    """The queries in file order; a repeated text without an id comes once, a query with a problem not at all."""
    with _new_ids() as is_new:
        for _, row in _rows(path):
            if isinstance(row, QueryRow) and is_new(row.query_id):
                yield row


def survey(path: Path) -> Survey:
    """Read the whole file once; DataError lists its first ten problems."""
    problems, queries, repeated = [], 0, 0
    with _new_ids() as is_new:
        for number, row in _rows(path):
            if isinstance(row, str):
                problems.append(f"{number}: {row}")
            elif is_new(row.query_id):
                queries += 1
            elif row.named:
                problems.append(f"{number}: the id {row.query_id!r} was used before; every query needs its own")
            else:
                repeated += 1
    if problems:
        raise DataError(f"{path}: nothing was asked, since some queries cannot be read:{problem_list(problems)}")
    if not queries:
        raise DataError(f'{path} holds no query; write one per line, or JSON lines such as {{"query": "2+2?"}}')
    return Survey(queries, repeated)


def problem_list(problems: Sequence[str]) -> str:
    """The first SHOWN problems, a line each, for the end of a message."""
    rest = [f"and {len(problems) - SHOWN:,} more"] if len(problems) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*problems[:SHOWN], *rest])


@contextmanager
def _new_ids() -> Iterator[Callable[[str], bool]]:
    """Function that says whether an id is new; SQLite moves the ids to disk when they are many."""
    with closing(sqlite3.connect("", isolation_level=None)) as database:
        database.execute("CREATE TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID")
        database.execute("BEGIN")
        yield lambda query_id: database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (query_id,)).rowcount == 1


def _rows(path: Path) -> Iterator[tuple[str, QueryRow | str]]:
    """The place of each query (line 3, row 2), and the query or what is wrong with it."""
    if path.is_dir():
        path = path / "queries.parquet"
    readers = {".txt": _line_rows, ".jsonl": _line_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}
    if path.suffix not in readers:
        raise DataError(
            f"{path}: queries are read from {', '.join(readers)} files or a data folder; rename or convert it"
        )
    try:
        for where, found in readers[path.suffix](path):
            yield where, _row(found) if isinstance(found, dict) else found
    except OSError as error:
        raise DataError(f"cannot read the queries in {path}: {error.strerror or error}") from error


def _row(found: dict[str, Any]) -> QueryRow | str:
    key = next((key for key in QUERY_KEYS if found.get(key) is not None), None)
    if key is None:
        return f"no query under the name {' or '.join(QUERY_KEYS)}; it has {', '.join(map(str, list(found)[:10]))}"
    text = found[key]
    if not isinstance(text, str) or not text.strip():
        return f"{key} must be text that is not blank, got {text!r:.80}"
    try:
        digest = hashlib.sha256(text.encode()).hexdigest()
    except UnicodeEncodeError as error:
        return f"{key} is not valid Unicode ({error.reason} at character {error.start})"
    id_key = next((key for key in ID_KEYS if found.get(key) is not None), None)
    query_id = f"q-{digest[:16]}" if id_key is None else str(found[id_key])
    if not query_id.isprintable() or not query_id:
        return f"{id_key} must be printable text, got {query_id!r:.80}"
    known = {name: value for name, value in found.items() if value not in (None, "") and value == value}  # not NaN
    fields = {name: value for name, value in known.items() if name not in (key, id_key)}
    return QueryRow(query_id, text, fields, id_key is not None)


def _line_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """The place of each line that is not blank, and its query or its problem."""
    with path.open("rb") as stream:
        for line in read_lines(stream):
            found: Any
            data = line.data.removeprefix(BYTE_ORDER_MARK) if line.number == 1 else line.data
            try:
                if line.size > MAX_LINE_BYTES:
                    found = f"{line.size:,} bytes; at most {MAX_LINE_BYTES:,} are read: shorten it"
                elif not (text := data.decode()).strip():
                    continue
                elif path.suffix == ".txt":
                    found = {"query": text}
                elif not isinstance(found := json.loads(text), dict):
                    found = f'a JSON {type(found).__name__}; write {{"query": "..."}}'
            except UnicodeDecodeError as error:
                found = f"not UTF-8 (byte 0x{data[error.start]:02x} at {error.start}): convert it"
            except (ValueError, RecursionError) as error:
                found = f'not JSON ({str(error)[:80]}); write {{"query": "..."}}'
            yield f"line {line.number}", found


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    csv.field_size_limit(MAX_LINE_BYTES)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        try:
            for number, found in enumerate(csv.DictReader(stream), 1):
                yield f"row {number}", {name: value for name, value in found.items() if isinstance(name, str)}
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}") from error


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches(batch_size=512) for row in batch.to_pylist())
            for number, found in enumerate(rows, 1):
                yield f"row {number}", found
    except pa.ArrowException as error:
        raise DataError(f"{path} cannot be read as parquet: {error}") from error
