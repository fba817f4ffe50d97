"""Reader of SPROUT (CARROT, 2502.03261; hub id CARROT-LLM-Routing/SPROUT): a row per prompt, a struct per model.

Columns key, dataset, prompt, golden_answer, and for each model {response, score, num_input_tokens, num_output_tokens}.
Unverified: written from the published schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from router.errors import DataError
from train.data_folders.build.files import tables
from train.data_folders.build.part import Part, answer_chars, make_part


def read_sprout(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """Queries and outcomes. DataError where no column is a model's."""
    queries: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    for table in tables(path, ("prompt", "dataset"), trust_pickle=trust_pickle):
        models = [column for column in table if table[column].map(_is_answer).any()]
        if not models:
            raise DataError(f"{path} has no column of structs with a score: is it SPROUT's table?")
        for number, row in enumerate(table.to_dict("records"), len(queries)):
            key = row.get("key", number)
            queries.append(
                {"query_id": key, "benchmark": str(row["dataset"]), "category": row.get("dataset_level"),
                 "text": row["prompt"], "answer": row.get("golden_answer")}
            )  # fmt: skip
            for model in models:
                if _is_answer(row[model]):
                    answer = row[model]
                    chars = answer_chars(answer.get("response"), answer.get("num_output_tokens"))
                    outcomes.append({"query_id": key, "model": model, "score": answer["score"], "output_chars": chars})
    return make_part(name, path, queries, outcomes)


def _is_answer(value: object) -> bool:
    return isinstance(value, dict) and "score" in value
