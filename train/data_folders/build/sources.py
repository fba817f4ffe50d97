"""Readers of published outcomes, one per format. All are unverified: written from the published schemas.

A reader yields tables with a row per query and model; columns as in `train.data_folders.build.part`.
"""

import ast
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from router.errors import DataError
from train.data_folders.build.part import Part, answer_chars, make_part, records, tables
from train.data_folders.build.votes import ID_DIGITS, read_votes
from train.data_folders.questions import key_of

ANSWER, COST = "|model_response", "|total_cost"  # of RouterBench's columns
EMBEDLLM = {"prompt_id": "query_id", "prompt": "text", "model_name": "model", "label": "score"}
PLAIN = ("query_id", "benchmark", "category", "text", "answer", "model", "score", "output_chars", "cost_usd")
TEXT = ("text", "query", "prompt")  # names of the text in a plain table


def read_routerbench(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """RouterBench (2403.12031, hub id withmartian/routerbench): a row per prompt, three columns per model.

    `MODEL` is the score, `MODEL|model_response` the answer, `MODEL|total_cost` its cost in USD; `eval_name` the
    benchmark. It is published as pickles; the same table as CSV or Parquet is read too. DataError for another schema.
    """

    def pieces() -> Iterator[pd.DataFrame]:
        for table in tables(path, ("sample_id", "prompt", "eval_name"), trust_pickle=trust_pickle):
            models = [str(column).removesuffix(COST) for column in table if str(column).endswith(COST)]
            models = [model for model in models if model in table]
            if not models:
                raise DataError(f"{path} has no pair of columns MODEL and MODEL{COST}: is it RouterBench's table?")
            kind = table["eval_name"].astype(str)
            queries = pd.DataFrame({"query_id": table["sample_id"], "text": table["prompt"].map(prompt_text)})
            queries = queries.assign(benchmark=kind.str.replace("^mmlu-.*", "mmlu", regex=True), category=kind)
            for model in models:
                answers = table[model + ANSWER] if model + ANSWER in table else pd.Series(index=table.index)
                chars = [len(prompt_text(answer)) if isinstance(answer, str) else None for answer in answers]
                outcomes = {"score": table[model], "output_chars": chars, "cost_usd": table[model + COST]}
                yield queries.assign(model=model, **outcomes)

    return make_part(name, path, pieces())


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


def read_embedllm(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """EmbedLLM (2410.02223, hub id RZ412/EmbedLLM): a CSV row per prompt and model, `label` 1 if it was right.

    The training file is large and is read in pieces. Of a prompt under several task variants the mean label is kept.
    """
    pieces = tables(path, tuple(EMBEDLLM), optional=("category",), trust_pickle=trust_pickle)
    return make_part(name, path, (table.rename(columns=EMBEDLLM | {"category": "benchmark"}) for table in pieces))


def read_sprout(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """SPROUT (CARROT, 2502.03261; hub id CARROT-LLM-Routing/SPROUT): a row per prompt, a struct per model.

    Columns key, dataset, prompt, golden_answer, and for each model {response, score, num_input_tokens,
    num_output_tokens}. DataError where no column is a model's.
    """

    def pieces() -> Iterator[pd.DataFrame]:
        names = {"key": "query_id", "dataset": "benchmark", "dataset_level": "category", "prompt": "text",
                 "golden_answer": "answer"}  # fmt: skip
        seen = 0
        for table in tables(path, ("prompt", "dataset"), trust_pickle=trust_pickle):
            models = [column for column in table if table[column].map(_is_answer).any()]
            if not models:
                raise DataError(f"{path} has no column of structs with a score: is it SPROUT's table?")
            if "key" not in table:
                table["key"] = range(seen, seen + len(table))
            seen += len(table)
            queries = table.reindex(columns=list(names)).rename(columns=names)
            yield queries
            for model in models:
                answers = table[model][table[model].map(_is_answer)]
                chars = [answer_chars(each.get("response"), each.get("num_output_tokens")) for each in answers]
                scores = [each["score"] for each in answers]
                yield queries.loc[answers.index].assign(model=model, score=scores, output_chars=chars)

    return make_part(name, path, pieces())


def _is_answer(value: object) -> bool:
    return isinstance(value, dict) and "score" in value


def read_llmrouterbench(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """LLMRouterBench (hub id NPULH/OpenRouterBench, its first name): a JSON file per dataset, split and model.

    Files lie at bench/DATASET/SPLIT/MODEL/TIMESTAMP.json with a list of `records`; one has index, origin_query, prompt,
    ground_truth, score, completion_tokens, cost and raw_output. The query is the origin query. DataError for another
    schema.
    """
    rows: list[dict[str, Any]] = []
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    newest = {file.parent: file for file in files}  # timestamps sort: the last run of a model counts
    for file in newest.values():
        if len(file.parts) < 4:
            raise DataError(f"{file} is not at DATASET/SPLIT/MODEL/TIMESTAMP.json")
        dataset, split, model = file.parts[-4:-1]
        try:
            for record in json.loads(file.read_text(encoding="utf-8"))["records"]:
                answer = record.get("ground_truth")
                if not isinstance(answer, str | None):
                    answer = json.dumps(answer, ensure_ascii=False)
                rows.append({
                    "query_id": f"{dataset}-{split}-{record['index']}", "benchmark": dataset, "model": model,
                    "text": record.get("origin_query") or record.get("prompt"), "answer": answer,
                    "score": record.get("score"), "cost_usd": record.get("cost"),
                    "output_chars": answer_chars(record.get("raw_output"), record.get("completion_tokens")),
                })  # fmt: skip
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
            raise DataError(f"{file} has no list of records with an index: {error!r}") from error
    if not rows:
        raise DataError(f"{path}: no JSON file with records at DATASET/SPLIT/MODEL/TIMESTAMP.json")
    return make_part(name, path, [pd.DataFrame(rows)])


def read_routerarena(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """RouterArena's prediction files: a JSON list, an object per query and model with `accuracy` and `cost`.

    Keys "global index", prompt, prediction (the model), generated_result {generated_answer, success, token_usage},
    accuracy, cost, for_optimality. Ungraded and failed answers are left out and counted. From the repository's checker
    and the head of one file.
    """
    rows: list[dict[str, Any]] = []
    left_out = Counter[str]()
    for file in [path] if path.is_file() else sorted(path.rglob("*.json")):
        for number, entry in enumerate(records(file)):
            key, model = entry.get("global index") or entry.get("global_index"), entry.get("prediction")
            if not key or not model:
                raise DataError(f"{file}, entry {number}: no 'global index' or no 'prediction'")
            row = {"query_id": key, "benchmark": str(key).rpartition("_")[0] or name,
                   "text": entry.get("prompt") or entry.get("prompt_formatted")}  # fmt: skip
            answer = entry.get("generated_result") or {}
            if entry.get("accuracy") is None:
                left_out["answers without an accuracy"] += 1
            elif answer.get("success") is False:
                left_out["answers that failed"] += 1
            else:
                tokens = (answer.get("token_usage") or {}).get("output_tokens")
                row |= {"model": model, "score": entry["accuracy"], "cost_usd": entry.get("cost"),
                        "output_chars": answer_chars(answer.get("generated_answer"), tokens)}  # fmt: skip
            rows.append(row)
    return make_part(name, path, [pd.DataFrame(rows)], left_out)


def read_plain(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """A table of outcomes, CSV, JSON lines or Parquet: a row per query and model, columns as in a data folder.

    Needed are text (or query, or prompt), model and score; optional are query_id, benchmark, category, answer,
    output_chars or output_tokens, and cost_usd. A query without an id gets the text's hash. DataError where a needed
    column is missing.
    """

    def pieces() -> Iterator[pd.DataFrame]:
        for table in tables(path, ("model", "score"), trust_pickle=trust_pickle):
            text = next((column for column in TEXT if column in table), None)
            if text is None:
                raise DataError(f"{path} has none of the columns {', '.join(TEXT)}; it has {list(table.columns)[:12]}")
            tokens = table.get("output_tokens", pd.Series(index=table.index, dtype=float))
            found = table.rename(columns={text: "text"}).reindex(columns=PLAIN)
            found["query_id"] = [
                key_of(str(text), ID_DIGITS) if pd.isna(key) else str(key)
                for key, text in zip(found["query_id"], found["text"], strict=True)
            ]
            found["output_chars"] = found["output_chars"].fillna(tokens.map(lambda n: answer_chars(None, n)))
            yield found.assign(model=found["model"].astype(str))

    return make_part(name, path, pieces())


READERS: dict[str, Callable[[Path, str, bool], Part]] = {
    "routerbench": read_routerbench,
    "embedllm": read_embedllm,
    "sprout": read_sprout,
    "llmrouterbench": read_llmrouterbench,
    "routerarena": read_routerarena,
    "votes": read_votes,
    "plain": read_plain,
}
