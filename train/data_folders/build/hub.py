"""Reader of benchmarks through `datasets`: from the Hub, or from a local folder with the published files.

The meaning of a record is in `train.data_folders.build.benchmarks`: dotted paths into a row (a dict of values, lists
and dicts), `{path}` in templates, lettered options. `datasets` (extra `[build]`) is imported late.
"""

import hashlib
import json
import logging
import random
import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from router.errors import DataError, UsageError
from router.installation import how_to_install
from train.data_folders.build.benchmarks import Benchmark, Row
from train.data_folders.build.part import Part, make_part

logger = logging.getLogger(__name__)

FORMATS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv"}
PLACE = re.compile(r"\{([^{}]+)\}")


def read_benchmark(rows: tuple[Benchmark, ...], folder: Path | None, limit: int | None = None) -> Part:
    """The queries of a benchmark, from all its rows of the table; at most `limit` of each subset.

    A record that lacks a field is an error, since the published schema is then not the row's.

    Raises:
        DataError: the Hub or the folder cannot be read, or a record does not fit the row.
    """
    queries, left_out = [], Counter[str]()
    for benchmark, subset in ((row, subset) for row in rows for subset in row.configs):
        taken = 0
        for number, record in enumerate(_records(benchmark, folder, subset, len(rows) * len(benchmark.configs) > 1)):
            if taken == limit:
                break
            if benchmark.wanted and not benchmark.wanted(record):
                left_out["records that the benchmark's row does not want"] += 1
                continue
            taken += 1
            try:
                queries.append(_query(benchmark, subset, number, record))
            except (DataError, KeyError, TypeError, ValueError) as error:
                where = folder or benchmark.hub_id
                raise DataError(
                    f"{where}, record {number}: {error}; its row in the table may be out of date"
                ) from error
    origin = folder or ", ".join(dict.fromkeys(row.hub_id for row in rows))
    part = make_part(rows[0].name, origin, [pd.DataFrame(queries)], left_out)
    part.verified = all(row.verified for row in rows)
    return part


def _query(benchmark: Benchmark, subset: str | None, number: int, record: Row) -> dict[str, Any]:
    row = benchmark.prepare(record) if benchmark.prepare else record
    category = lookup(row, benchmark.category) if benchmark.category else subset
    key = f"{benchmark.hub_id.rpartition('/')[2]}-{subset or 'all'}-{number}"
    query = {
        "query_id": key,
        "benchmark": benchmark.name,
        "category": None if category is None else str(category),
        "grade": benchmark.grade,
        "tests": fill(benchmark.tests, row) if benchmark.tests else None,
        "rubric": fill(benchmark.rubric, row) if benchmark.rubric else None,
        "held_out": benchmark.held_out,
    }
    if not benchmark.options:
        answer = None if benchmark.answer is None else fill(benchmark.answer, row)
        return {**query, "text": fill(benchmark.prompt, row), "answer": answer}
    options, right = _options(benchmark, row)
    if benchmark.shuffled:
        order = random.Random(hashlib.sha256(key.encode()).digest()).sample(range(len(options)), len(options))
        options, right = [options[i] for i in order], chr(ord("A") + order.index(ord(right) - ord("A")))
    return {**query, "text": fill(benchmark.prompt, {**row, "options": lettered(options)}), "answer": right}


def _options(benchmark: Benchmark, row: Row) -> tuple[list[str], str]:
    """The options' texts and the letter of the right one."""
    assert benchmark.options and benchmark.answer
    if isinstance(benchmark.options, tuple):
        options = [str(lookup(row, path)) for path in benchmark.options]
        answer = 0 if benchmark.shuffled else lookup(row, benchmark.answer)
        return options, letter_of(answer, options)
    found = lookup(row, benchmark.options)
    labels = [str(label) for label in lookup(row, benchmark.labels)] if benchmark.labels else None
    if isinstance(found, dict):
        found, labels = list(found.values()), list(found)
    options = [str(option) for option in found]
    return options, letter_of(lookup(row, benchmark.answer), options, labels)


def _records(benchmark: Benchmark, folder: Path | None, subset: str | None, several: bool) -> Iterator[Row]:
    """The records of a subset."""
    try:
        import datasets
    except ImportError as error:
        raise UsageError(f"reading benchmarks needs datasets: {how_to_install('build')}") from error
    datasets.disable_progress_bars()
    try:
        if folder:
            loaded = _local(datasets, benchmark, folder, subset, several)
        else:
            loaded = _remote(datasets, benchmark, subset)
        if loaded is not None:
            yield from _without_images(datasets, loaded)
    except DataError:
        raise
    except Exception as error:  # datasets, the Hub's client and pyarrow raise errors of many types
        advice = "" if folder else f"; without a hub, download it and give --source {benchmark.name}=FOLDER"
        raise DataError(
            f"{benchmark.name} cannot be read from {folder or benchmark.hub_id}: {error}{advice}"
        ) from error


def _without_images(datasets: Any, loaded: Any) -> Any:
    """The records without lists of images; single images stay undecoded."""
    for name, feature in dict(loaded.features or {}).items():
        if isinstance(feature, datasets.Image):
            loaded = loaded.cast_column(name, datasets.Image(decode=False))
        elif isinstance(getattr(feature, "feature", None), datasets.Image):
            loaded = loaded.remove_columns(name)
    return loaded


def _remote(datasets: Any, benchmark: Benchmark, subset: str | None) -> Any:
    extra = {"data_files": benchmark.data_files} if benchmark.data_files else {}
    if benchmark.field:
        extra["field"] = benchmark.field
    return datasets.load_dataset(benchmark.hub_id, subset, split=benchmark.split, revision=benchmark.revision, **extra)


def _local(datasets: Any, benchmark: Benchmark, folder: Path, subset: str | None, several: bool) -> Any:
    """The folder's files; if a benchmark has several subsets, those whose path names the subset.

    Subsets without files are left out, so that a part of a benchmark is enough.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in FORMATS]
    if not files:
        raise DataError(f"{folder}: no file of {', '.join(FORMATS)}: --source names a folder of the published files")
    part = benchmark.hub_id.rpartition("/")[2]
    if several:
        tokens = [token for token in (subset, part) if token]
        files = [path for path in files if any(token in path.relative_to(folder).as_posix() for token in tokens)]
        if not files:
            logger.warning("%s: no file named after %s, which is left out", folder, subset or part)
            return None
    kind = FORMATS[files[0].suffix]
    files = [path for path in files if FORMATS[path.suffix] == kind]
    extra = {"field": benchmark.field} if benchmark.field and kind == "json" else {}
    names = [str(path) for path in files]
    return datasets.load_dataset(kind, data_files=names, split="train", streaming=True, **extra)


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
