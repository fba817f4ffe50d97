"""Writes what was collected as a data folder (docs/data.md), row by row, and puts it in its place when it is whole.

Knows the format; neither models nor grades come from here. Memory does not grow with the number of rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from router.dataset import CHARS_PER_TOKEN, SPLITS
from router.errors import UsageError
from train.collecting.trials import Missing, Trial
from train.query_file import QueryRow

MARKER = "collected.json"  # tells a collected folder from one that must not be replaced
ROWS = 2_000  # written at a time
QUERIES = pa.schema(
    [
        ("query_id", pa.string()), ("benchmark", pa.string()), ("category", pa.string()), ("text", pa.string()),
        ("split", pa.string()), ("fold", pa.int8()), ("group", pa.string()), ("ood_twin", pa.bool_()),
    ]
)  # fmt: skip
OUTCOMES = pa.schema(
    [
        ("query_id", pa.string()), ("model", pa.string()), ("score", pa.float64()), ("output_chars", pa.float64()),
        ("protocol", pa.string()), ("output_chars_basis", pa.string()), ("cost_usd", pa.float64()),
        ("trials", pa.int32()),
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


def query_record(row: QueryRow, benchmark: str) -> dict[str, Any]:
    """A row of queries.parquet: what the file says, else folds from the text's hash. ValueError for a bad value."""
    question = str(row.fields.get("group") or " ".join(row.text.lower().split()))
    digest = hashlib.sha256(question.encode()).hexdigest()[:12]
    fold = row.fields.get("fold", int(digest, 16) % 10)
    try:
        number = float(fold)
    except (TypeError, ValueError):
        number = -1.0
    if number not in range(10):
        raise ValueError(f"fold must be a whole number from 0 to 9, got {fold!r:.40}")
    split = row.fields.get("split", "train" if number < 7 else "val" if number == 7 else "test")
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
        "group": str(row.fields.get("group") or digest),
        "ood_twin": bool(row.fields.get("ood_twin", False)),
    }


def outcome_records(query_id: str, protocol: str, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Rows of outcomes.parquet: the mean of each model's trials. Lengths are in characters as everywhere, 4 a token."""
    by_model: defaultdict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_model[trial.model].append(trial)
    return [
        {
            "query_id": query_id,
            "model": model,
            "score": _mean([each.score for each in of_model]),
            "output_chars": CHARS_PER_TOKEN * _mean([each.answer.output_tokens for each in of_model]),
            "protocol": protocol,
            "output_chars_basis": "measured",
            "cost_usd": _mean([each.answer.usd for each in of_model]),
            "trials": len(of_model),
        }
        for model, of_model in by_model.items()
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def trial_record(query_id: str, trial: Trial) -> dict[str, Any]:
    """A row of trials.parquet."""
    answer = trial.answer
    return {
        "query_id": query_id,
        "model": trial.model,
        "trial": trial.number,
        "score": trial.score,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "tokens_counted": answer.counted,
        "cost_usd": answer.usd,
        "latency_s": answer.latency_s,
        "finish": answer.finish,
        "judge_usd": trial.judge_usd,
        "answer": answer.text,
    }


def own_pool(pool: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """The pool file's values with each entry's profile to come from these outcomes: under its id and `protocol`."""
    elsewhere = ("profile", "allow_prior")
    entries = [{key: value for key, value in entry.items() if key not in elsewhere} for entry in pool["models"]]
    return {"name": pool["name"], "protocol": protocol} | {**pool, "protocol": protocol, "models": entries}


def check_folder(out: Path, force: bool) -> None:
    """UsageError where `out` exists and this command did not make it."""
    if out.exists() and not force and not (out / MARKER).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"--out {out} exists and was not made by collect; give --force to replace it, or name another")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.absolute().parent}")


class CollectedFolder:
    """Context manager: write queries one after the other; leaving it without an exception makes the folder."""

    def __init__(self, out: Path, pool: Mapping[str, Any], protocol: str, annotations: Path | None) -> None:
        """`pool`: the plain values of a pool file, whose entries' ids are the models' names here."""
        self.out, self.pool, self.protocol, self.annotations = out.absolute(), pool, protocol, annotations
        self.fresh = self.out.with_name(f".{self.out.name}.new")
        self.missing = 0

    def __enter__(self) -> Self:
        shutil.rmtree(self.fresh, ignore_errors=True)
        self.fresh.mkdir(parents=True)
        self.tables = {
            "queries": _Table(self.fresh / "queries.parquet", QUERIES),
            "outcomes": _Table(self.fresh / "outcomes.parquet", OUTCOMES),
            "trials": _Table(self.fresh / "trials.parquet", TRIALS),
        }
        self.failures = (self.fresh / "missing.jsonl").open("w", encoding="utf-8")
        return self

    def write(self, query: Mapping[str, Any], results: Sequence[Trial | Missing]) -> None:
        """One query with all that was got on it."""
        query_id, trials = query["query_id"], [each for each in results if isinstance(each, Trial)]
        self.tables["queries"].add([query])
        self.tables["outcomes"].add(outcome_records(query_id, self.protocol, trials))
        self.tables["trials"].add([trial_record(query_id, trial) for trial in trials])
        for each in results:
            if isinstance(each, Missing):
                self.missing += 1
                about = {"query_id": query_id, "model": each.model, "trial": each.number, "problem": each.problem}
                self.failures.write(json.dumps(about, ensure_ascii=False) + "\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for table in self.tables.values():
                table.close()
            self.failures.close()
            if kind is None:
                self._write_rest()
                self._put_in_place()
        finally:
            shutil.rmtree(self.fresh, ignore_errors=True)

    def _write_rest(self) -> None:
        columns = {
            "id": "model",
            "input_usd_per_mtok": "input_usd_per_mtok",
            "output_usd_per_mtok": "output_usd_per_mtok",
        }
        models = [{new: entry[old] for old, new in columns.items()} for entry in self.pool["models"]]
        pd.DataFrame(models).to_csv(self.fresh / "models.csv", index=False)
        (self.fresh / "pool.yaml").write_text(yaml.safe_dump(own_pool(self.pool, self.protocol), sort_keys=False))
        if self.annotations is not None:
            shutil.copyfile(self.annotations, self.fresh / "annotations.jsonl")
        if not self.missing:
            (self.fresh / "missing.jsonl").unlink()
        about = {"pool": self.pool["name"], "protocol": self.protocol, "missing": self.missing}
        (self.fresh / MARKER).write_text(json.dumps(about) + "\n", encoding="utf-8")

    def _put_in_place(self) -> None:
        old = self.out.with_name(f".{self.out.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self.out.exists():
            os.replace(self.out, old)
        os.replace(self.fresh, self.out)
        shutil.rmtree(old, ignore_errors=True)


class _Table:
    """A Parquet file, a few thousand rows in memory."""

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
