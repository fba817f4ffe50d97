"""Tables of one data folder, read and checked row by row: queries, outcomes, annotations, models.

The format is that of `router.evaluation.dataset`, which joins the tables of folders. It needs pandas and pyarrow.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from router.errors import DataError
from router.pools.models import ModelFacts

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test", "ood")
DEFAULT_PROTOCOL = "default"
LEVELS = (1, 2, 3, 4, 5)  # of difficulty

HOW_TO_GET_DATA = (
    "set ROUTEMIX_DIR to a folder in RouteMix-open's format (several: separated as in PATH), or put one at "
    "data/routemix-open; `python -m train planted --out DIR` makes a small generated one, docs/data.md describes how "
    "to write your own"
)


@dataclass(frozen=True)
class Annotation:
    """Labels of one query by one annotator, most important first."""

    query_id: str
    capabilities: tuple[str, ...]
    knowledge: tuple[str, ...]
    annotator: str
    difficulty: int | None = None  # of LEVELS: the least capable kind of model that usually answers well


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


def read_queries(path: Path) -> pd.DataFrame:
    """The rows of queries.parquet with text, optional columns filled in; DataError for bad ones."""
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


def read_outcomes(path: Path, known: set[str], repeated: str) -> pd.DataFrame:
    """The rows of outcomes.parquet, those of queries that are not `known` too; DataError for bad ones.

    `repeated`: as in `read_dataset`.
    """
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


def read_annotations(folder: Path) -> list[Annotation]:
    """The lines of every file `annotations*.jsonl` of a folder, whichever queries they name; DataError for bad ones."""
    return [note for path in sorted(folder.glob("annotations*.jsonl")) for note in _annotations_in(path)]


def _annotations_in(path: Path) -> list[Annotation]:
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
            level = raw.get("difficulty")
            if level is not None and (isinstance(level, bool) or level not in LEVELS):
                raise _fail(path, number, "difficulty", level, "a whole number from 1 to 5, or nothing")
            found.append(
                Annotation(
                    str(raw.get("query_id")),
                    tuple(raw["capabilities"]),
                    tuple(raw["knowledge"]),
                    str(raw.get("annotator", "llm-a")),
                    level if level is None else int(level),
                )
            )
    return found


def read_models(path: Path) -> dict[str, ModelFacts]:
    """Facts by model of models.csv; DataError for bad rows."""
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
