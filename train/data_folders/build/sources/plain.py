"""Outcomes as a plain table, CSV, JSON lines or Parquet: a row a query and model, named as in a data folder.

Needed are text and model and score; optional query_id, benchmark, category, answer, output_chars or output_tokens, and
cost_usd. `query` and `prompt` are other names of text.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from router.errors import DataError
from router.options import CHARS_PER_TOKEN
from train.data_folders.build.files import tables
from train.data_folders.build.part import Part, make_part

TEXT = ("text", "query", "prompt")


def read_plain(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """Queries and outcomes; without a query_id the text's hash is the id. DataError where a needed column lacks."""
    queries: dict[str, dict[str, Any]] = {}
    outcomes: list[dict[str, Any]] = []
    for table in tables(path, ("model", "score"), trust_pickle=trust_pickle):
        text = next((column for column in TEXT if column in table), None)
        if text is None:
            raise DataError(f"{path} has none of the columns {', '.join(TEXT)}; it has {list(table.columns)[:12]}")
        for row in table.astype(object).where(table.notna(), None).to_dict("records"):
            key = str(row["query_id"]) if row.get("query_id") is not None else _hash(str(row[text]))
            query = {"query_id": key, "benchmark": row.get("benchmark") or name, "text": row[text]}
            queries.setdefault(key, {**query, "category": row.get("category"), "answer": row.get("answer")})
            outcomes.append({"query_id": key, "model": str(row["model"]), "score": row["score"],
                             "output_chars": _chars(row), "cost_usd": row.get("cost_usd")})  # fmt: skip
    return make_part(name, path, queries.values(), outcomes)


def _chars(row: dict[str, Any]) -> float | None:
    if row.get("output_chars") is not None:
        return float(row["output_chars"])
    tokens = row.get("output_tokens")
    return None if tokens is None else float(tokens) * CHARS_PER_TOKEN


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
