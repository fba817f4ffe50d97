"""Collected data folder (docs/data.md), written row by row and moved into its place when it is complete.

Memory does not grow with the number of rows.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from router.errors import UsageError
from router.files import atomic_folder
from train.collect.records import OUTCOMES, QUERIES, TRIALS, outcome_records, own_pool, trial_record
from train.collect.trials import Missing, Trial
from train.data_folders.data_folder import holds_other_files

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
        folder = CollectedFolder(fresh, pool, protocol, annotations)
        with closing(folder):
            yield folder
        folder.write_rest()


class CollectedFolder:
    """The files of a data folder while it is filled; made by `collected_folder`."""

    def __init__(self, fresh: Path, pool: Mapping[str, Any], protocol: str, annotations: Path | None) -> None:
        self.fresh, self.pool, self.protocol, self.annotations = fresh, pool, protocol, annotations
        self.missing = 0
        self.tables = {
            "queries": _Table(fresh / "queries.parquet", QUERIES),
            "outcomes": _Table(fresh / "outcomes.parquet", OUTCOMES),
            "trials": _Table(fresh / "trials.parquet", TRIALS),
        }
        self.failures = (fresh / "missing.jsonl").open("w", encoding="utf-8")

    def write(self, query: Mapping[str, Any], results: Sequence[Trial | Missing]) -> None:
        """Write one query with its trials."""
        query_id, trials = query["query_id"], [each for each in results if isinstance(each, Trial)]
        self.tables["queries"].add([query])
        self.tables["outcomes"].add(outcome_records(query_id, self.protocol, trials))
        self.tables["trials"].add([trial_record(query_id, trial) for trial in trials])
        for each in results:
            if isinstance(each, Missing):
                self.missing += 1
                about = {"query_id": query_id, "model": each.model, "trial": each.number, "problem": each.problem}
                self.failures.write(json.dumps(about, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Close the files that grew with the queries."""
        for table in self.tables.values():
            table.close()
        self.failures.close()

    def write_rest(self) -> None:
        """Write the other files, after all queries."""
        prices = ("input_usd_per_mtok", "output_usd_per_mtok")
        models = [{"model": entry["id"]} | {name: entry[name] for name in prices} for entry in self.pool["models"]]
        pd.DataFrame(models).to_csv(self.fresh / "models.csv", index=False)
        (self.fresh / "pool.yaml").write_text(yaml.safe_dump(own_pool(self.pool, self.protocol), sort_keys=False))
        if self.annotations is not None:
            shutil.copyfile(self.annotations, self.fresh / "annotations.jsonl")
        if not self.missing:
            (self.fresh / "missing.jsonl").unlink()
        about = {"pool": self.pool["name"], "protocol": self.protocol, "missing": self.missing}
        (self.fresh / MARKER).write_text(json.dumps(about) + "\n", encoding="utf-8")


class _Table:
    """Parquet writer that buffers a few thousand rows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.writer, self.schema = pq.ParquetWriter(path, schema), schema
        self.rows: list[Mapping[str, Any]] = []

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows += rows
        if len(self.rows) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        self.writer.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
        self.rows = []

    def close(self) -> None:
        if self.rows:
            self._flush()
        self.writer.close()
