"""Readers of published outcomes, one per format."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fixtures.published_outcomes import ROUTERBENCH

from router.errors import UsageError
from train.data_folders.build.part import Part
from train.data_folders.build.sources import (
    read_embedllm,
    read_llmrouterbench,
    read_plain,
    read_routerarena,
    read_routerbench,
    read_sprout,
)
from train.data_folders.build.votes import read_votes, scores_of, strengths


def cell(part: Part, model: str, query: str) -> pd.Series:
    found = part.outcomes[(part.outcomes["model"] == model) & part.outcomes["query_id"].str.endswith(query)]
    assert len(found) == 1
    return found.iloc[0]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_routerbench_is_read_from_its_table(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(ROUTERBENCH)
    frame.to_csv(tmp_path / "rb.csv", index=False) if kind == "csv" else frame.to_parquet(tmp_path / "rb.parquet")
    part = read_routerbench(tmp_path / f"rb.{kind}", "routerbench")
    assert part.queries["text"].tolist() == ["Is it theft?\nA) Yes\nB) No", "Two and two?"]
    assert part.queries["benchmark"].tolist() == ["mmlu", "grade-school-math"]
    assert cell(part, "gpt-4", "gsm.1")[["score", "output_chars", "cost_usd"]].tolist() == [0.25, 5.0, 0.02]


class Trap:
    """What a hostile pickle does: runs something as it is read."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("pickle-ran"),)


def test_a_pickle_is_refused_without_being_opened_unless_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UsageError, match="runs whatever code its maker put in: give --trust-pickle"):
        read_routerbench(tmp_path / "trap.pkl", "routerbench")
    assert not (tmp_path / "pickle-ran").exists()
    pd.DataFrame(ROUTERBENCH).to_pickle(tmp_path / "rb.pkl")
    part = read_routerbench(tmp_path / "rb.pkl", "routerbench", trust_pickle=True)
    assert len(part.outcomes) == 4


def test_embedllm_is_read_in_pieces_and_repeated_prompts_count_with_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.data_folders.build.part.CHUNK", 2)
    rows = [(1, "Two?", "m1", 1), (1, "Two?", "m2", 0), (2, "Three?", "m1", 1), (1, "Two?", "m1", 0)]
    frame = pd.DataFrame(rows, columns=["prompt_id", "prompt", "model_name", "label"])
    frame.assign(category="math", model_id=0).to_csv(tmp_path / "train.csv", index=False)
    part = read_embedllm(tmp_path, "embedllm")
    assert cell(part, "m1", "/1")["score"] == 0.5 and len(part.queries) == 2
    assert part.queries["benchmark"].tolist() == ["math", "math"]
    assert part.left_out == {"outcomes merged with another of the same query and model": 1}


def test_sprout_is_read_from_its_structs(tmp_path: Path) -> None:
    answer = {"response": "four", "judge_response": "", "num_input_tokens": 3, "num_output_tokens": 2, "score": 0.8}
    row = {"key": "k1", "dataset": "math", "dataset_level": "1", "dataset_idx": 0, "prompt": "2+2?"}
    pd.DataFrame([{**row, "golden_answer": "4", "openai-gpt-4o": answer}]).to_parquet(tmp_path / "train.parquet")
    part = read_sprout(tmp_path / "train.parquet", "sprout")
    assert cell(part, "openai-gpt-4o", "k1")[["score", "output_chars"]].tolist() == [0.8, 4.0]
    assert part.queries["answer"].tolist() == ["4"]


def test_llmrouterbench_is_read_from_its_tree_and_the_last_run_of_a_model_counts(tmp_path: Path) -> None:
    for stamp, score in (("20250101", 0.0), ("20250202", 1.0)):
        file = tmp_path / "bench" / "aime" / "test" / "Qwen3-8B" / f"{stamp}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        record = {"index": 1, "origin_query": "Find x.", "prompt": "Solve: Find x.", "prediction": "7",
                  "ground_truth": "7", "score": score, "prompt_tokens": 4, "completion_tokens": 5, "cost": 0.001,
                  "raw_output": "x is 7"}  # fmt: skip
        file.write_text(json.dumps({"performance": score, "records": [record]}))
    part = read_llmrouterbench(tmp_path, "llmrouterbench")
    assert cell(part, "Qwen3-8B", "aime-test-1")[["score", "output_chars", "cost_usd"]].tolist() == [1.0, 6.0, 0.001]
    assert part.queries["text"].tolist() == ["Find x."]


def test_routerarena_is_read_from_prediction_files_and_ungraded_answers_are_left_out(tmp_path: Path) -> None:
    entry = {"global index": "ArcMMLU_655", "prompt": "Which?", "prediction": "m1", "cost": 2e-5, "accuracy": 1.0,
             "generated_result": {"generated_answer": "A", "success": True, "token_usage": {"output_tokens": 9}},
             "for_optimality": False}  # fmt: skip
    ungraded = {**entry, "prediction": "m2", "accuracy": None}
    failed = {**entry, "prediction": "m3", "generated_result": {"generated_answer": None, "success": False}}
    (tmp_path / "router.json").write_text(json.dumps([entry, ungraded, failed]))
    part = read_routerarena(tmp_path, "routerarena")
    assert cell(part, "m1", "ArcMMLU_655")["score"] == 1.0 and len(part.outcomes) == 1
    assert part.queries["benchmark"].tolist() == ["ArcMMLU"]
    assert part.left_out == {"answers without an accuracy": 1, "answers that failed": 1}


def test_votes_of_both_published_forms_become_outcomes_of_both_models(tmp_path: Path) -> None:
    battles = [
        {"id": "1", "model_a": "strong", "model_b": "weak", "prompt": '["One?", "Two?"]', "response_a": '["a"]',
         "response_b": '["bb"]', "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0},
    ]  # fmt: skip
    pd.DataFrame(battles).to_parquet(tmp_path / "battles.parquet")
    part = read_votes(tmp_path / "battles.parquet", "battles")
    assert part.queries["text"].tolist() == ["One?\n\nTwo?"]
    scores = part.outcomes.set_index("model")["score"]
    assert scores["strong"] > 0.5 > scores["weak"]
    talk = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}]
    arena = {"model_a": ["x", "x"], "model_b": ["y", "y"], "winner": ["tie", "nobody"], "conversation_a": [talk, talk]}
    pd.DataFrame(arena).to_parquet(tmp_path / "arena.parquet")
    part = read_votes(tmp_path / "arena.parquet", "arena")
    assert part.queries["text"].tolist() == ["Hello?"] and part.outcomes["score"].tolist() == [0.5, 0.5]
    assert part.left_out == {"votes without a prompt, a winner, or two models": 1}


def test_strengths_are_recovered_from_votes_and_scores_do_not_depend_on_the_opponents() -> None:
    rng, truth = np.random.default_rng(0), np.array([0.25, 0.5, 1.0, 2.0, 4.0])
    first = rng.integers(0, 5, 40_000)
    second = (first + rng.integers(1, 5, 40_000)) % 5
    keep = ~((first == 0) & (second == 4))  # model 0 is spared the strongest as often as not
    first, second = first[keep], second[keep]
    won = (rng.random(len(first)) < truth[first] / (truth[first] + truth[second])).astype(float)
    found = strengths(first, second, won, 5)
    assert np.abs(np.log(found / truth)).max() < 0.06
    one, other = scores_of(found[first], found[second], won)
    for model in range(5):
        mean = np.r_[one[first == model], other[second == model]].mean()
        assert mean == pytest.approx(truth[model] / (1 + truth[model]), abs=0.015)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_plain_table_is_read_in_any_format(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"query": ["2+2?", "2+2?", "Why?"], "model": ["a", "b", "a"], "score": [1.0, 0.0, 1.7],
                          "output_tokens": [2, 3, 4]})  # fmt: skip
    file = tmp_path / f"t.{suffix}"
    {"csv": lambda: frame.to_csv(file, index=False), "parquet": lambda: frame.to_parquet(file),
     "jsonl": lambda: frame.to_json(file, orient="records", lines=True)}[suffix]()  # fmt: skip
    part = read_plain(file, "mine")
    assert part.outcomes["score"].tolist() == [1.0, 0.0] and part.outcomes["output_chars"].tolist() == [8.0, 12.0]
    assert part.left_out == {"outcomes without a score from 0 to 1": 1}
