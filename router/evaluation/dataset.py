"""Data folders in RouteMix-open's format: every row is checked, outcomes become dense matrices.

The module defines the file format, not which rows training may use. It needs pandas and pyarrow (extra `[evaluate]`).
Axes: N queries, S systems (model, protocol).

    queries.parquet     query_id, benchmark, text, split, fold [, category, group, ood_twin]
    outcomes.parquet    query_id, model, score [, protocol, output_chars, output_chars_basis, cost_usd]
    annotations.jsonl   query_id, capabilities (ranked), knowledge (ranked), annotator       (optional)
    models.csv          model, input_usd_per_mtok, output_usd_per_mtok [, developer, open_weights, ...]
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from router.errors import DataError
from router.options import CHARS_PER_TOKEN
from router.pools.models import ModelFacts, System

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test", "ood")
DEFAULT_PROTOCOL = "default"

HOW_TO_GET_DATA = (
    "set ROUTEMIX_DIR to a folder in RouteMix-open's format, or put one at data/routemix-open; "
    "`python -m train planted --out DIR` makes a small generated one, docs/data.md describes how to write your own"
)


@dataclass(frozen=True)
class Annotation:
    """Labels of one query by one annotator, most important first."""

    query_id: str
    capabilities: tuple[str, ...]
    knowledge: tuple[str, ...]
    annotator: str


@dataclass(frozen=True)
class Dataset:
    """A checked data folder. Matrices are (N, S), with NaN for missing outcomes."""

    folder: Path
    queries: pd.DataFrame  # N rows, index 0..N-1, columns as in queries.parquet
    systems: tuple[System, ...]  # S, sorted by protocol, then model
    score: NDArray[np.float32]  # in [0, 1]
    output_tokens: NDArray[np.float32]  # of the answer; NaN where unknown
    measured: NDArray[np.bool_]  # whether output_tokens was measured on that answer
    cost_usd: NDArray[np.float32] | None  # realised cost, if the folder records it
    annotations: tuple[Annotation, ...]
    models: dict[str, ModelFacts]

    @property
    def input_tokens(self) -> NDArray[np.float64]:
        """Prompt tokens (N,), estimated from the characters."""
        return self.queries["text"].str.len().to_numpy(np.float64) / CHARS_PER_TOKEN

    def columns(self, systems: tuple[System, ...]) -> NDArray[np.intp]:
        """Columns (M,) of `systems`; DataError for a system without outcomes."""
        index = {system: column for column, system in enumerate(self.systems)}
        missing = [system.id for system in systems if system not in index]
        if missing:
            raise DataError(f"{self.folder}/outcomes.parquet has no rows of {missing[:10]}: evaluate another pool")
        return np.array([index[system] for system in systems])


def data_folder(path: str | os.PathLike[str] | None = None) -> Path:
    """The given folder, or the one in ROUTEMIX_DIR, or data/routemix-open; DataError if it holds no data."""
    folder = Path(path or os.environ.get("ROUTEMIX_DIR") or "data/routemix-open")
    if not (folder / "queries.parquet").is_file():
        raise DataError(f"no data at {folder} (queries.parquet is missing): {HOW_TO_GET_DATA}")
    return folder


def read_dataset(folder: str | os.PathLike[str], *, repeated: Literal["refuse", "first"] = "refuse") -> Dataset:
    """Read and check a folder in RouteMix-open's format. The DataError for bad data names file, row and column.

    `repeated` says what happens to an outcome that is given twice: an error, or the first one counts (for reports on
    such rows).
    """
    folder = data_folder(folder)
    queries = _read_queries(folder / "queries.parquet")
    row_of = {query_id: row for row, query_id in enumerate(queries["query_id"])}
    outcomes = _read_outcomes(folder / "outcomes.parquet", set(row_of), repeated)
    systems = tuple(
        sorted({System(m, p) for m, p in zip(outcomes["model"], outcomes["protocol"], strict=True)},
               key=lambda s: (s.protocol, s.model))
    )  # fmt: skip
    column_of = {(s.model, s.protocol): column for column, s in enumerate(systems)}
    rows = outcomes["query_id"].map(row_of)
    kept = rows.notna().to_numpy()
    rows = rows[kept].astype(int).to_numpy()
    outcomes = outcomes[kept]
    columns = np.array([column_of[key] for key in zip(outcomes["model"], outcomes["protocol"], strict=True)], int)

    def dense(values: pd.Series) -> NDArray[np.float32]:
        matrix = np.full((len(queries), len(systems)), np.nan, np.float32)
        matrix[rows, columns] = values.to_numpy(np.float32, na_value=np.nan)
        return matrix

    measured = np.zeros((len(queries), len(systems)), bool)
    measured[rows, columns] = (outcomes["output_chars_basis"] == "measured").to_numpy()
    return Dataset(
        folder=folder,
        queries=queries,
        systems=systems,
        score=dense(outcomes["score"]),
        output_tokens=dense(outcomes["output_chars"] / CHARS_PER_TOKEN),
        measured=measured,
        cost_usd=dense(outcomes["cost_usd"]) if "cost_usd" in outcomes else None,
        annotations=_read_annotations(folder / "annotations.jsonl", row_of.keys()),
        models=_read_models(folder / "models.csv"),
    )


def _fail(path: Path, row: int | None, column: str, got: object, allowed: str) -> DataError:
    where = f"row {row}, " if row is not None else ""
    value = got.item() if isinstance(got, np.generic) else got
    return DataError(f"{path}: {where}column {column!r}: got {value!r}, allowed is {allowed}")


def _read_table(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"{path} is missing: {HOW_TO_GET_DATA}")
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except Exception as error:  # pyarrow and pandas raise their own families here
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error
    missing = [name for name in required if name not in table]
    if missing:
        raise DataError(f"{path} lacks the columns {missing}; it has {list(table.columns)[:10]}")
    return table.reset_index(drop=True)


def _check(path: Path, table: pd.DataFrame, column: str, bad: pd.Series, allowed: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad.to_numpy())[0])
        raise _fail(path, row, column, table[column].iloc[row], f"{allowed} ({int(bad.sum())} such rows)")


def _read_queries(path: Path) -> pd.DataFrame:
    table = _read_table(path, ("query_id", "benchmark", "text", "split", "fold"))
    table["query_id"] = table["query_id"].astype(str)
    _check(path, table, "query_id", table["query_id"].duplicated(), "a unique id")
    _check(path, table, "text", ~table["text"].map(lambda value: isinstance(value, str)), "a string")
    _check(path, table, "split", ~table["split"].isin(SPLITS), f"one of {', '.join(SPLITS)}")
    fold = pd.to_numeric(table["fold"], errors="coerce")
    _check(path, table, "fold", ~(fold.between(0, 9) & (fold % 1 == 0)), "a whole number from 0 to 9")
    table["fold"] = fold.astype(int)
    table["benchmark"] = table["benchmark"].astype(str)
    table["category"] = table["category"].astype(str) if "category" in table else table["benchmark"]
    table["ood_twin"] = table["ood_twin"].astype(bool) if "ood_twin" in table else False
    blank = table["text"].str.strip() == ""
    if blank.any():
        logger.warning("%s: %d rows with an empty text are left out", path, int(blank.sum()))
    return table[~blank].reset_index(drop=True)


def _read_outcomes(path: Path, known: set[str], repeated: str) -> pd.DataFrame:
    table = _read_table(path, ("query_id", "model", "score"))
    score = pd.to_numeric(table["score"], errors="coerce")
    _check(path, table, "score", ~score.between(0, 1), "a number in [0, 1]")
    table["query_id"] = table["query_id"].astype(str)
    table["model"] = table["model"].astype(str)
    table["protocol"] = table["protocol"].astype(str) if "protocol" in table else DEFAULT_PROTOCOL
    unknown = ~table["query_id"].isin(known)
    if len(table) and unknown.all():
        raise _fail(path, 0, "query_id", table["query_id"].iloc[0], "an id of queries.parquet")
    if unknown.any():
        logger.warning("%s: %d rows of queries that are not in queries.parquet are left out", path, int(unknown.sum()))
    again = table.duplicated(["query_id", "model", "protocol"])
    if repeated == "first":
        table = table[~again].reset_index(drop=True)
    else:
        _check(path, table, "query_id", again, "one row per query, model and protocol")
    for column in ("output_chars", "cost_usd"):
        if column in table:
            number = pd.to_numeric(table[column], errors="coerce")
            _check(path, table, column, (number < 0) | (number.isna() & table[column].notna()), "a number >= 0 or null")
            table[column] = number.astype("float64")
    if "output_chars" not in table:
        table["output_chars"] = np.nan
    if "output_chars_basis" not in table:
        table["output_chars_basis"] = table["output_chars"].notna().map({True: "measured", False: None})
    return table


def _read_annotations(path: Path, known: object) -> tuple[Annotation, ...]:
    if not path.is_file():
        return ()
    found: list[Annotation] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            try:
                raw = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}: row {number} is not JSON: {error}") from error
            for column in ("capabilities", "knowledge"):
                names = raw.get(column) if isinstance(raw, dict) else None
                if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
                    raise _fail(path, number, column, names, "a ranked, non-empty list of names")
            if str(raw.get("query_id")) in known:  # type: ignore[operator]
                found.append(
                    Annotation(
                        str(raw["query_id"]),
                        tuple(raw["capabilities"]),
                        tuple(raw["knowledge"]),
                        str(raw.get("annotator", "llm-a")),
                    )
                )
    return tuple(found)


def _read_models(path: Path) -> dict[str, ModelFacts]:
    table = _read_table(path, ("model", "input_usd_per_mtok", "output_usd_per_mtok"))
    facts: dict[str, ModelFacts] = {}
    for row, entry in enumerate(table.to_dict("records")):
        prices: list[float | None] = []
        for column in ("input_usd_per_mtok", "output_usd_per_mtok"):
            price = float(pd.to_numeric(entry[column], errors="coerce"))
            if (pd.isna(price) and pd.notna(entry[column])) or price < 0:
                raise _fail(path, row, column, entry[column], "a price in USD per million tokens, or nothing")
            prices.append(None if pd.isna(price) else price)
        name = str(entry["model"])
        if name in facts:
            raise _fail(path, row, "model", name, "one row per model")
        facts[name] = ModelFacts(name, prices[0], prices[1])
    return facts
