"""Data folders in RouteMix-open's format, one or several joined: outcomes become dense matrices.

The module defines the file format, not which rows training may use. `router.evaluation.folder_tables` reads and checks
the rows. It needs pandas and pyarrow (extra `[evaluate]`). Axes: N queries, S systems (model, protocol).

    queries.parquet     query_id, benchmark, text, split, fold [, category, group, ood_twin]
    outcomes.parquet    query_id, model, score [, protocol, output_chars, output_chars_basis, cost_usd]
    annotations*.jsonl  query_id, capabilities (ranked), knowledge (ranked) [, difficulty, annotator]  (optional)
    models.csv          model, input_usd_per_mtok, output_usd_per_mtok [, developer, open_weights, ...]
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from router.errors import DataError
from router.evaluation.folder_tables import (
    HOW_TO_GET_DATA,
    Annotation,
    read_annotations,
    read_models,
    read_outcomes,
    read_queries,
)
from router.options import CHARS_PER_TOKEN
from router.pools.models import ModelFacts, System

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Checked data folders, compared by identity. Matrices are (N, S), with NaN for missing outcomes."""

    folders: tuple[Path, ...]
    queries: pd.DataFrame  # N rows, index 0..N-1, columns as in queries.parquet
    systems: tuple[System, ...]  # S, sorted by protocol, then model
    score: NDArray[np.float32]  # in [0, 1]
    output_tokens: NDArray[np.float32]  # of the answer; NaN where unknown
    measured: NDArray[np.bool_]  # whether output_tokens was measured on that answer
    cost_usd: NDArray[np.float32] | None  # realised cost, if a folder records it; NaN where unknown
    annotations: tuple[Annotation, ...]
    models: dict[str, ModelFacts]

    @property
    def folder(self) -> str:
        """The folders as ROUTEMIX_DIR names them, for messages."""
        return os.pathsep.join(map(str, self.folders))

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


def data_folders(path: str | os.PathLike[str] | None = None) -> tuple[Path, ...]:
    """The given folders, or those in ROUTEMIX_DIR, or data/routemix-open; DataError if one holds no data.

    Several are separated as in PATH, by os.pathsep; one that is named twice counts once.
    """
    named = os.fspath(path or os.environ.get("ROUTEMIX_DIR") or "data/routemix-open")
    folders = tuple(dict.fromkeys(Path(each) for each in named.split(os.pathsep) if each))
    for folder in folders:
        if not (folder / "queries.parquet").is_file():
            raise DataError(f"no data at {folder} (queries.parquet is missing): {HOW_TO_GET_DATA}")
    return folders


def data_folder(path: str | os.PathLike[str] | None = None) -> Path:
    """As `data_folders`, for what works on one folder; DataError for several."""
    folders = data_folders(path)
    if len(folders) > 1:
        raise DataError(
            f"one data folder is needed here, got {len(folders)}: name one of {', '.join(map(str, folders))}"
        )
    return folders[0]


def read_dataset(
    folder: str | os.PathLike[str] | None = None, *, repeated: Literal["refuse", "first"] = "refuse"
) -> Dataset:
    """Read, check and join `data_folders(folder)`. The DataError for bad data names file, row and column.

    `repeated` says what happens to an outcome that is given twice: an error, or the first one counts (for reports on
    such rows). Outcomes belong to queries of their folder, annotations to those of any. A model's facts are those of
    the first folder that lists it. Of several folders, some may lack outcomes.parquet or models.csv.
    """
    folders = data_folders(folder)
    tables = {each: read_queries(each / "queries.parquet") for each in folders}
    queries = _joined_queries(tables)
    row_of = {query_id: row for row, query_id in enumerate(queries["query_id"])}
    outcomes = pd.concat(
        [
            read_outcomes(each / "outcomes.parquet", set(tables[each]["query_id"]), repeated)
            for each in _having(folders, "outcomes.parquet")
        ],
        ignore_index=True,
    )
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
        folders=folders,
        queries=queries,
        systems=systems,
        score=dense(outcomes["score"]),
        output_tokens=dense(outcomes["output_chars"] / CHARS_PER_TOKEN),
        measured=measured,
        cost_usd=dense(outcomes["cost_usd"]) if "cost_usd" in outcomes else None,
        annotations=tuple(note for each in folders for note in read_annotations(each) if note.query_id in row_of),
        models=_joined_models(folders),
    )


def _having(folders: Sequence[Path], name: str) -> Sequence[Path]:
    """The folders that hold a file, which one of label-only queries may lack; all where none holds it."""
    return [each for each in folders if (each / name).is_file()] or folders


def _joined_queries(tables: Mapping[Path, pd.DataFrame]) -> pd.DataFrame:
    """All queries; DataError for an id that two folders have."""
    joined = pd.concat(tables.values(), ignore_index=True)
    again = joined["query_id"].duplicated()
    if again.any():
        query_id = joined["query_id"][again].iloc[0]
        owners = [str(folder) for folder, table in tables.items() if (table["query_id"] == query_id).any()]
        raise DataError(
            f"{int(again.sum())} ids of queries stand in two folders, such as {query_id!r} in {' and '.join(owners)}; "
            "ids must differ: put the folder's name in front of them, or name one folder alone"
        )
    return joined


def _joined_models(folders: Sequence[Path]) -> dict[str, ModelFacts]:
    models: dict[str, ModelFacts] = {}
    for folder in _having(folders, "models.csv"):
        found = read_models(folder / "models.csv")
        differ = sorted(name for name in found.keys() & models.keys() if found[name] != models[name])
        if differ:
            logger.warning(
                "%s: %d models have other prices in an earlier folder, and those count: %s",
                *(folder, len(differ), ", ".join(differ[:5])),
            )
        models = found | models
    return models
