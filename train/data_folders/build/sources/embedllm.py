"""Reader of EmbedLLM (2410.02223, hub id RZ412/EmbedLLM): a CSV row per prompt and model, `label` 1 if it was right.

Columns prompt_id, prompt, model_name, label, category. The training file is large and is read in pieces. Unverified:
written from the published schema.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from train.data_folders.build.files import tables
from train.data_folders.build.part import Part, make_part

COLUMNS = ("prompt_id", "prompt", "model_name", "label")


def read_embedllm(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """Queries and outcomes; of a prompt under several task variants the mean label is kept."""
    queries: dict[object, dict[str, object]] = {}
    outcomes: list[pd.DataFrame] = []
    for table in tables(path, COLUMNS, optional=("category",), trust_pickle=trust_pickle):
        first = table.drop_duplicates("prompt_id")
        category = first["category"] if "category" in first else pd.Series(name, index=first.index)
        for query_id, text, kind in zip(first["prompt_id"], first["prompt"], category, strict=True):
            queries.setdefault(query_id, {"query_id": query_id, "benchmark": str(kind), "text": text})
        outcomes.append(table[["prompt_id", "model_name", "label"]])
    every = pd.concat(outcomes).set_axis(["query_id", "model", "score"], axis=1)
    return make_part(name, path, queries.values(), every)
