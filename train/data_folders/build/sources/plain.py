"""Reader of a plain table of outcomes: CSV, JSON lines or Parquet, a row per query and model.

Columns are named as in a data folder. Needed are text, model and score; optional are query_id, benchmark, category,
answer, output_chars or output_tokens, and cost_usd. `query` and `prompt` are other names of text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from router.errors import DataError
from train.data_folders.build.files import tables
from train.data_folders.build.part import Part, answer_chars, make_part, text_id

TEXT = ("text", "query", "prompt")


def read_plain(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """Queries and outcomes; a query without an id gets the text's hash. DataError where a needed column is missing."""
    queries: dict[str, dict[str, Any]] = {}
    outcomes: list[dict[str, Any]] = []
    for table in tables(path, ("model", "score"), trust_pickle=trust_pickle):
        text = next((column for column in TEXT if column in table), None)
        if text is None:
            raise DataError(f"{path} has none of the columns {', '.join(TEXT)}; it has {list(table.columns)[:12]}")
        for row in table.astype(object).where(table.notna(), None).to_dict("records"):
            key = str(row["query_id"]) if row.get("query_id") is not None else text_id(str(row[text]))
            query = {"query_id": key, "benchmark": row.get("benchmark") or name, "text": row[text]}
            queries.setdefault(key, {**query, "category": row.get("category"), "answer": row.get("answer")})
            outcomes.append({"query_id": key, "model": str(row["model"]), "score": row["score"],
                             "output_chars": _chars(row), "cost_usd": row.get("cost_usd")})  # fmt: skip
    return make_part(name, path, queries.values(), outcomes)


def _chars(row: dict[str, Any]) -> float | None:
    if row.get("output_chars") is not None:
        return float(row["output_chars"])
    return answer_chars(None, row.get("output_tokens"))
