"""Collected data folder (docs/data.md), written row by row and moved into its place when it is complete.

Queries and answers do not stay in memory; the figures of the trials are read back at the end.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from router.errors import UsageError
from router.files import atomic_folder, atomic_text
from train.collect.records import QUERIES, TRIALS, outcomes_of, own_pool, trial_record
from train.collect.trials import Missing, Trial
from train.data_folders.data_folder import PRICES, holds_other_files

MARKER = "collected.json"  # marks a collected folder, which may be replaced
ROWS = 2_000  # written at a time


def check_folder(out: Path, force: bool) -> None:
    """UsageError where `out` exists and this command did not make it."""
    if not force and holds_other_files(out, MARKER):
        raise UsageError(f"--out {out} exists and was not made by collect; give --force to replace it, or name another")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.absolute().parent}")


@contextmanager
def collected_folder(
    out: Path, pool: Mapping[str, Any], protocol: str, annotations: Path | None
) -> Iterator[CollectedFolder]:
    """A folder that takes queries one after the other; leaving without an exception gives it the name `out`.

    `pool`: the plain values of a pool file; its entries' ids are the names of the models.
    """
    with atomic_folder(out) as fresh:  # an OSError of the block is not converted
        with (
            _table(fresh / "queries.parquet", QUERIES) as queries,
            _table(fresh / "trials.parquet", TRIALS) as trials,
            atomic_text(fresh / "missing.jsonl", keep_empty=False) as failures,
        ):
            folder = CollectedFolder(queries, trials, failures)
            yield folder
        outcomes_of(figures_of(fresh), protocol).to_parquet(fresh / "outcomes.parquet", index=False)
        models = [{"model": entry["id"]} | {name: entry[name] for name in PRICES} for entry in pool["models"]]
        pd.DataFrame(models).to_csv(fresh / "models.csv", index=False)
        (fresh / "pool.yaml").write_text(yaml.safe_dump(own_pool(pool, protocol), sort_keys=False))
        if annotations is not None:
            shutil.copyfile(annotations, fresh / "annotations.jsonl")
        about = {"pool": pool["name"], "protocol": protocol, "missing": folder.missing.total()}
        (fresh / MARKER).write_text(json.dumps(about) + "\n", encoding="utf-8")


def figures_of(folder: Path) -> pd.DataFrame:
    """The trials of a collected folder, without the text of their answers."""
    return pd.read_parquet(folder / "trials.parquet", columns=TRIALS.names[:-1])


@dataclass
class CollectedFolder:
    """The files of a data folder while it is filled; made by `collected_folder`."""

    queries: _Table
    trials: _Table
    failures: TextIO
    missing: Counter[str] = field(default_factory=Counter)  # trials without a grade, by model

    def write(self, query: Mapping[str, Any], results: Sequence[Trial | Missing]) -> None:
        """Write one query with its trials."""
        query_id = query["query_id"]
        self.queries.add([query])
        self.trials.add([trial_record(query_id, each) for each in results if isinstance(each, Trial)])
        for each in results:
            if isinstance(each, Missing):
                self.missing[each.model] += 1
                about = {"query_id": query_id, "model": each.model, "trial": each.number, "problem": each.problem}
                self.failures.write(json.dumps(about, ensure_ascii=False) + "\n")


class _Table:
    """Parquet writer that buffers a few thousand rows."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self.writer = writer
        self.rows: list[Mapping[str, Any]] = []

    def add(self, rows: Sequence[Mapping[str, Any]], least: int = ROWS) -> None:
        self.rows += rows
        if len(self.rows) >= least:
            self.writer.write_table(pa.Table.from_pylist(self.rows, schema=self.writer.schema))
            self.rows = []


@contextmanager
def _table(path: Path, schema: pa.Schema) -> Iterator[_Table]:
    with pq.ParquetWriter(path, schema) as writer:
        table = _Table(writer)
        yield table
        table.add([], least=1)
