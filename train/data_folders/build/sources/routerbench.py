"""Reader of RouterBench (2403.12031, hub id withmartian/routerbench): a row per prompt, three columns per model.

`MODEL` is the score, `MODEL|model_response` the answer, `MODEL|total_cost` its cost in USD; `eval_name` the benchmark.
It is published as pickles; the same table as CSV or Parquet is read too. Unverified: written from the published schema.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from router.errors import DataError
from train.data_folders.build.files import tables
from train.data_folders.build.part import Part, make_part

ANSWER, COST = "|model_response", "|total_cost"


def read_routerbench(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """Queries and outcomes with costs; the rows' `sample_id` is the id. DataError for another schema."""
    queries: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    for table in tables(path, ("sample_id", "prompt", "eval_name"), trust_pickle=trust_pickle):
        models = [column.removesuffix(COST) for column in table if str(column).endswith(COST)]
        models = [model for model in models if model in table]
        if not models:
            raise DataError(f"{path} has no pair of columns MODEL and MODEL{COST}: is it RouterBench's table?")
        for row in table.to_dict("records"):
            benchmark = str(row["eval_name"])
            family = benchmark.partition("-")[0] if benchmark.startswith("mmlu-") else benchmark
            query = {"query_id": row["sample_id"], "benchmark": family, "category": benchmark}
            queries.append({**query, "text": prompt_text(row["prompt"])})
            outcomes += _outcomes(row, models)
    return make_part(name, path, queries, outcomes)


def _outcomes(row: dict[str, Any], models: list[str]) -> Iterator[dict[str, Any]]:
    for model in models:
        answer = row.get(model + ANSWER)
        chars = len(prompt_text(answer)) if isinstance(answer, str) else None
        yield {"query_id": row["sample_id"], "model": model, "score": row[model], "output_chars": chars,
               "cost_usd": row[model + COST]}  # fmt: skip


def prompt_text(value: Any) -> str:
    """A prompt's text; RouterBench writes turns as a Python list in text.

    >>> prompt_text("['Hello.', 'And now?']")
    'Hello.\\n\\nAnd now?'
    """
    if isinstance(value, str) and value[:1] in "[(":
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    if isinstance(value, list | tuple):
        return "\n\n".join(str(turn) for turn in value)
    return "" if value is None or value is pd.NA else str(value)
