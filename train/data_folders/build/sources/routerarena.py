"""Reader of RouterArena's prediction files: a JSON list, an object per query and model with `accuracy` and `cost`.

Keys "global index", prompt, prediction (the model), generated_result {generated_answer, success, token_usage},
accuracy, cost, for_optimality. Unverified: written from the repository's checker and the head of one file.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from router.errors import DataError
from train.data_folders.build.files import records
from train.data_folders.build.part import Part, answer_chars, make_part


def read_routerarena(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """Queries and outcomes of one or many files; ungraded and failed answers are left out and counted."""
    queries: dict[str, dict[str, Any]] = {}
    outcomes: list[dict[str, Any]] = []
    left_out = Counter[str]()
    for file in [path] if path.is_file() else sorted(path.rglob("*.json")):
        for number, entry in enumerate(records(file)):
            key, model = entry.get("global index") or entry.get("global_index"), entry.get("prediction")
            if not key or not model:
                raise DataError(f"{file}, entry {number}: no 'global index' or no 'prediction'")
            queries.setdefault(key, {"query_id": key, "benchmark": str(key).rpartition("_")[0] or name,
                                     "text": entry.get("prompt") or entry.get("prompt_formatted")})  # fmt: skip
            answer = entry.get("generated_result") or {}
            if entry.get("accuracy") is None:
                left_out["answers without an accuracy"] += 1
            elif answer.get("success") is False:
                left_out["answers that failed"] += 1
            else:
                tokens = (answer.get("token_usage") or {}).get("output_tokens")
                chars = answer_chars(answer.get("generated_answer"), tokens)
                outcomes.append({"query_id": key, "model": model, "score": entry["accuracy"],
                                 "output_chars": chars, "cost_usd": entry.get("cost")})  # fmt: skip
    return make_part(name, path, queries.values(), outcomes, left_out)
