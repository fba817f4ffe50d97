"""Corpus of queries in numbered parts: the parts of each process, and a folder where each part is whole or absent.

Part n holds the records of lines n PART_LINES + 1 to (n + 1) PART_LINES. Processes do not talk to each other: each
knows its number and how many there are. Knows how lines are read and records written, not how they are routed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.batch.lines import QueryLine, RawLine, encode_record, parse_line, parse_object, read_lines
from router.errors import UsageError
from router.files import atomic_write

if TYPE_CHECKING:
    import pyarrow

PART_LINES = 8000
REQUEST = "_request.json"  # readers of Parquet folders skip names that begin with an underscore
COLUMNS = ("query", "text", "id", "dial")  # of a Parquet file that are read
OUTPUTS = ("jsonl", "parquet")


@dataclass(frozen=True)
class Share:
    """Parts that one process routes: every `processes`-th from `process`."""

    process: int = 0
    processes: int = 1

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Share:
        """The share by RANK and WORLD_SIZE, which `accelerate launch` and `torchrun` set. Raises UsageError."""
        rank, size = environment.get("RANK", "0"), environment.get("WORLD_SIZE", "1")
        if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
            raise UsageError(f"RANK must be a whole number from 0 to WORLD_SIZE - 1, got {rank!r} of {size!r}")
        return cls(int(rank), int(size))

    def has(self, part: int) -> bool:
        """Whether this process routes the part."""
        return part % self.processes == self.process


def read_parts(path: Path, line_format: str, wanted: Callable[[int], bool]) -> Iterator[tuple[int, list[QueryLine]]]:
    """Number and lines of each part for which `wanted(number)` holds, in order; the others are not parsed.

    `line_format` is txt, jsonl or parquet. UsageError for a Parquet file without queries.
    """
    if line_format == "parquet":
        yield from _parquet_parts(path, wanted)
        return
    with path.open("rb") as stream:
        lines = read_lines(stream)
        for part in count():
            raw = list(islice(lines, PART_LINES))
            if not raw:
                return
            if wanted(part):
                yield part, [parse_line(each, line_format) for each in raw]


def _parquet_parts(path: Path, wanted: Callable[[int], bool]) -> Iterator[tuple[int, list[QueryLine]]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path)
    except ArrowException as error:
        raise UsageError(f"{path} is no Parquet file: {error}") from error
    names = [name for name in file.schema_arrow.names if name in COLUMNS]
    if not {"query", "text"} & set(names):
        have = ", ".join(file.schema_arrow.names[:10])
        raise UsageError(f"{path} has no column query (or text); its columns: {have}")
    with file:
        for part, batch in enumerate(file.iter_batches(PART_LINES, columns=names)):
            if wanted(part):
                columns = [_values(column) for column in batch.columns]
                rows = enumerate(zip(*columns, strict=True), part * PART_LINES + 1)
                yield part, [_parquet_line(number, dict(zip(names, row, strict=True))) for number, row in rows]


def _values(column: pyarrow.Array) -> list[Any]:
    """A column's values; bytes that are not UTF-8, which Parquet does not check, become surrogates."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [each and each.decode("utf-8", "surrogateescape") for each in column.cast("large_binary").to_pylist()]


def _parquet_line(number: int, row: Mapping[str, Any]) -> QueryLine:
    return parse_object(RawLine(number, b"", 0), {key: value for key, value in row.items() if value is not None})


class PartsFolder:
    """The folder of a routed corpus; a part in it is never written twice."""

    def __init__(self, folder: Path, output_format: str, request: Mapping[str, Any]) -> None:
        """Make the folder where there is none. Raises UsageError where it holds anything but parts of this request."""
        self.folder, self.output_format = folder, output_format
        about, settings = folder / REQUEST, {**request, "output_format": output_format}
        wanted = json.dumps(settings, indent=1, sort_keys=True)
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"cannot write --output {folder}: it is a file; name a folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot write --output {folder}: {error.strerror}; name a folder where you may write"
            ) from error
        if not about.is_file():
            if strange := sorted(each.name for each in folder.iterdir() if not each.name.startswith(REQUEST)):
                raise UsageError(f"--output {folder} holds {strange[:5]}, but no routed corpus: name another folder")
            atomic_write(about, wanted.encode())  # several processes may write it, with equal content
        before = json.loads(about.read_text(encoding="utf-8"))
        now = json.loads(wanted)
        if changed := sorted(key for key in {*before, *now} if before.get(key) != now.get(key)):
            changes = "; ".join(f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in changed)
            raise UsageError(
                f"--output {folder} holds parts of another run: {changes}. Repeat that run's input and settings, or "
                "name another folder"
            )

    def has(self, part: int) -> bool:
        """Whether the part is there."""
        return self._file(part).is_file()

    def write(self, part: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Write the part's records, and a file with the number of errors if there are any."""
        if failed := sum("error" in record for record in records):
            atomic_write(self.folder / f"_failed-{part:06}", str(failed).encode())
        content = b"".join(map(encode_record, records)) if self.output_format == "jsonl" else _parquet(records)
        atomic_write(self._file(part), content)

    def failed(self) -> int:
        """The number of errors in all parts."""
        return sum(int(each.read_text()) for each in self.folder.glob("_failed-*[0-9]"))

    def _file(self, part: int) -> Path:
        return self.folder / f"part-{part:06}.{self.output_format}"


def _parquet(records: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    rows = [_flat(record) for record in records]
    sink = pa.BufferOutputStream()
    write_table(pa.Table.from_pylist(rows, schema=_schema(pa)), sink)
    return bytes(sink.getvalue())


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a row: dictionaries as lists of pairs, an id as text, reasons as JSON."""
    row = dict(record)
    for name in ("capabilities", "domains"):
        row[name] = list(record.get(name, {}).items())
    row["id"] = None if record.get("id") is None else str(record["id"])
    row["reasons"] = json.dumps(record["reasons"]) if record.get("reasons") else None
    return row


def _schema(pa: Any) -> pyarrow.Schema:
    number, text = pa.float64(), pa.string()
    alternative = [
        ("model", text),
        ("quality", number),
        ("cost_usd", number),
        ("utility", number),
        ("prior", pa.bool_()),
    ]
    return pa.schema(
        [
            ("line", pa.int64()),
            ("id", text),
            ("model", text),
            ("pool", text),
            *((name, number) for name in ("dial", "quality", "cost_usd", "utility")),
            ("prior", pa.bool_()),
            ("alternatives", pa.list_(pa.struct(alternative))),
            ("capabilities", pa.map_(text, number)),
            ("domains", pa.map_(text, number)),
            ("difficulty", number),
            ("level", number),
            ("level_word", text),
            ("familiarity", number),
            ("reasons", text),
            ("price_date", text),
            ("flagged", text),
            ("error", pa.struct([("type", text), ("message", text)])),
        ]
    )
