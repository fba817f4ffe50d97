"""Reader of LLMRouterBench (hub id NPULH/OpenRouterBench, its first name): a JSON file per dataset, split and model.

Files lie at bench/DATASET/SPLIT/MODEL/TIMESTAMP.json with a list of `records`; one has index, origin_query, prompt,
ground_truth, score, completion_tokens, cost and raw_output. Unverified: written from the published schema.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from router.errors import DataError
from train.data_folders.build.part import Part, answer_chars, make_part


def read_llmrouterbench(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """Queries and outcomes of every file under `path`; the query is the origin query. DataError for another schema."""
    queries: dict[str, dict[str, Any]] = {}
    outcomes: list[dict[str, Any]] = []
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    newest = {file.parent: file for file in files}  # timestamps sort: the last run of a model counts
    for file in newest.values():
        if len(file.parts) < 4:
            raise DataError(f"{file} is not at DATASET/SPLIT/MODEL/TIMESTAMP.json")
        dataset, split, model = file.parts[-4:-1]
        for record in _records(file):
            key = f"{dataset}-{split}-{record['index']}"
            text = record.get("origin_query") or record.get("prompt")
            queries.setdefault(key, {"query_id": key, "benchmark": dataset, "text": text,
                                     "answer": _text(record.get("ground_truth"))})  # fmt: skip
            chars = answer_chars(record.get("raw_output"), record.get("completion_tokens"))
            outcomes.append({"query_id": key, "model": model, "score": record.get("score"), "output_chars": chars,
                             "cost_usd": record.get("cost")})  # fmt: skip
    if not queries:
        raise DataError(f"{path}: no JSON file with records at DATASET/SPLIT/MODEL/TIMESTAMP.json")
    return make_part(name, path, queries.values(), outcomes)


def _records(file: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["records"]
        if all("index" in record for record in found):
            return list(found)
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{file} has no list of records: {error!r}") from error
    raise DataError(f"{file}: a record has no index")


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
