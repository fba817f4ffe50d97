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
from router.evaluation.folder_tables import SPLITS
from router.files import atomic_folder, atomic_text
from router.options import CHARS_PER_TOKEN
from train.collect.trials import Missing, Trial
from train.data_folders.data_folder import PRICES, holds_other_files
from train.data_folders.query_file import QueryRow
from train.data_folders.questions import fold_of, key_of, split_of

QUERIES = pa.schema(
    [
        ("query_id", pa.string()), ("benchmark", pa.string()), ("category", pa.string()), ("text", pa.string()),
        ("split", pa.string()), ("fold", pa.int8()), ("group", pa.string()), ("ood_twin", pa.bool_()),
    ]
)  # fmt: skip
TRIALS = pa.schema(
    [
        ("query_id", pa.string()), ("model", pa.string()), ("trial", pa.int32()), ("score", pa.float64()),
        ("input_tokens", pa.float64()), ("output_tokens", pa.float64()), ("tokens_counted", pa.bool_()),
        ("cost_usd", pa.float64()), ("latency_s", pa.float64()), ("finish", pa.string()), ("judge_usd", pa.float64()),
        ("answer", pa.string()),
    ]
)  # fmt: skip
MARKER = "collected.json"  # marks a collected folder, which may be replaced
ROWS = 2_000  # written at a time


def query_record(row: QueryRow, benchmark: str) -> dict[str, Any]:
    """A row of queries.parquet; its fold is the file's or comes from the text's hash. ValueError for a bad value."""
    key = key_of(str(row.fields.get("group") or " ".join(row.text.lower().split())))
    fold = row.fields.get("fold", fold_of(key))
    try:
        number = float(fold)
    except (TypeError, ValueError):
        number = -1.0
    if number not in range(10):
        raise ValueError(f"fold must be a whole number from 0 to 9, got {fold!r:.40}")
    split = row.fields.get("split", split_of(int(number)))
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r:.40}")
    name = str(row.fields.get("benchmark", benchmark))
    return {
        "query_id": row.query_id,
        "benchmark": name,
        "category": str(row.fields.get("category", name)),
        "text": row.text,
        "split": split,
        "fold": int(number),
        "group": str(row.fields.get("group") or key),
        "ood_twin": bool(row.fields.get("ood_twin", False)),
    }


def trial_record(query_id: str, trial: Trial) -> dict[str, Any]:
    """A row of trials.parquet."""
    names = {"counted": "tokens_counted", "usd": "cost_usd", "text": "answer"}
    answer = {names.get(name, name): value for name, value in vars(trial.answer).items()}
    about = {"query_id": query_id, "model": trial.model, "trial": trial.number, "score": trial.score}
    return {**about, **answer, "judge_usd": trial.judge_usd}


def outcomes_of(trials: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Rows of outcomes.parquet: the mean of each model's trials of a query. Lengths are in characters, 4 a token."""
    means = trials.groupby(["query_id", "model"], sort=False, as_index=False).agg(
        score=("score", "mean"),
        output_chars=("output_tokens", "mean"),
        cost_usd=("cost_usd", "mean"),
        trials=("trial", "size"),
    )
    chars = CHARS_PER_TOKEN * means["output_chars"]
    return means.assign(output_chars=chars, output_chars_basis="measured", protocol=protocol)


def own_pool(pool: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """The pool file's values, with each entry's profile under its own id and `protocol`, as in these outcomes."""
    elsewhere = ("profile", "allow_prior")
    entries = [{key: value for key, value in entry.items() if key not in elsewhere} for entry in pool["models"]]
    return {**pool, "protocol": protocol, "models": entries}


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
