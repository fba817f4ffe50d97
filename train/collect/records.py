"""Rows of the tables of a collected folder: queries and their trials. No input or output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from router.evaluation.dataset import SPLITS
from router.options import CHARS_PER_TOKEN
from train.collect.trials import Trial
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
