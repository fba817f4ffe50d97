"""`python -m train collect`: graded answers of a pool against a loopback endpoint, as a data folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from fixtures.collecting import collect, scores, write_pool, write_rows
from fixtures.loopback_llm import Body, Faults, LoopbackLLM, Said, serving
from fixtures.planted_llm import PlantedLLM, reference

from router.evaluation.dataset import read_dataset
from router.evaluation.pool_report import pool_outcomes
from router.pools.pool import read_pool
from train.__main__ import main
from train.data_folders.synthetic.generate import PlantedData, plant
from train.data_folders.synthetic.world import MODELS

REPOSITORY = Path(__file__).resolve().parents[3]
IDS = [model.name for model in MODELS[:3]]


@pytest.fixture(scope="module")
def planted() -> PlantedData:
    return plant(40, seed=6)


def planted_rows(planted: PlantedData) -> list[dict[str, Any]]:
    return [
        {"query_id": f"planted/{row}", "query": text, "answer": reference(row)} for row, text in enumerate(planted.text)
    ]


def test_the_folder_holds_the_grades_tokens_costs_and_prices_and_reads_as_any_other(
    planted: PlantedData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notes = tmp_path / "notes.jsonl"
    notes.write_text('{"query_id": "planted/0", "capabilities": ["coding"], "knowledge": ["Law"]}\n')
    with serving(LoopbackLLM(PlantedLLM(planted), Faults(latency_s=0.002))) as llm:
        assert collect(tmp_path, planted_rows(planted), llm, IDS, "--annotations", notes, "--max-tokens", 5000) == 0
    dataset = read_dataset(tmp_path / "data")
    assert not caplog.records
    pool = read_pool(tmp_path / "data" / "pool.yaml", dataset.systems)
    outcomes = pool_outcomes(dataset, pool)
    assert np.array_equal(outcomes.score, planted.score[:, :3])
    tokens = np.maximum(planted.output_chars[:, :3] // 4, 1)
    assert np.array_equal(dataset.output_tokens, tokens)
    tokens_in = np.array([-(-len(text) // 4) for text in planted.text])
    assert np.allclose(outcomes.realised_usd, (tokens_in[:, None] * 1.0 + tokens * 2.0) / 1e6)
    assert dataset.measured.all()
    assert len(dataset.annotations) == 1
    assert {model: facts.output_usd_per_mtok for model, facts in dataset.models.items()} == dict.fromkeys(IDS, 2.0)
    trials = pd.read_parquet(tmp_path / "data" / "trials.parquet")
    assert len(trials) == 120
    assert (trials["latency_s"] >= 0.002).all()
    assert trials["tokens_counted"].all()
    assert trials["answer"].iloc[0].startswith("The answer is: ")
    assert set(dataset.queries["benchmark"]) == {"own"}
    assert (dataset.queries.groupby("split")["fold"].agg(set)["train"]) <= set(range(7))


def test_what_the_file_says_of_a_query_is_kept(planted: PlantedData, tmp_path: Path) -> None:
    rows = planted_rows(planted)[:2]
    rows[0] |= {"benchmark": "support", "category": "billing", "split": "ood", "fold": 9, "group": "g"}
    with serving(LoopbackLLM(PlantedLLM(planted))) as llm:
        assert collect(tmp_path, rows, llm, IDS[:1], "--benchmark", "mine") == 0
    first, second = pd.read_parquet(tmp_path / "data" / "queries.parquet").to_dict("records")
    assert (first["benchmark"], first["category"], first["split"], first["fold"], first["group"]) == (
        "support", "billing", "ood", 9, "g",
    )  # fmt: skip
    assert (second["benchmark"], second["category"]) == ("mine", "mine")


def test_several_trials_are_asked_for_anew_and_averaged(tmp_path: Path) -> None:
    said = iter(["yes", "no", "yes", "yes"])
    with serving(LoopbackLLM(lambda body: next(said))) as llm:
        assert collect(tmp_path, [{"id": 1, "query": "q", "answer": "yes"}], llm, ["m"], "--trials", 4) == 0
        assert collect(tmp_path, [{"id": 1, "query": "q", "answer": "yes"}], llm, ["m"], "--trials", 4) == 0
    assert llm.requests == 4
    assert {body["temperature"] for body in llm.bodies} == {0.7}
    assert scores(tmp_path) == {("1", "m"): 0.75}
    assert sorted(pd.read_parquet(tmp_path / "data" / "trials.parquet")["score"]) == [0, 1, 1, 1]


def test_bad_rows_are_listed_before_anything_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": "a", "query": "q"},
        {"id": "b", "query": "r", "answer": "1", "fold": 12},
        {"id": "c", "query": "s", "grade": "code", "tests": "assert f()"},
        {"id": "d", "query": "t", "grade": "judge"},
    ]
    with serving(LoopbackLLM(lambda body: "1")) as llm:
        assert collect(tmp_path, rows, llm, ["m"]) == 1
    assert llm.requests == 0
    err = capsys.readouterr().err
    assert "query 1 (a): `answer` is missing" in err
    assert "query 2 (b): fold must be a whole number from 0 to 9, got 12" in err
    assert "query 3 (c): it is graded by running code: give --run-code isolated" in err
    assert "query 4 (d): its grade is judge: give --judge POOL.yaml" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--against", "n"), "--against n is not in the pool; known: m"),
        (("--trials", "0"), "are at least 1"),
        (("--temperature", "3"), "--temperature lies from 0 to 2"),
        (("--annotations", "none.jsonl"), "--annotations none.jsonl: no such file"),
        (("--judge", "none.yaml"), "none.yaml: no such file"),
    ],
)
def test_a_bad_option_is_one_line(
    options: tuple[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(LoopbackLLM(lambda body: "1")) as llm:
        assert collect(tmp_path, [{"query": "q", "answer": "1"}], llm, ["m"], *options) == 1
    assert message in capsys.readouterr().err
    assert llm.requests == 0


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("x")
    with serving(LoopbackLLM(lambda body: "1")) as llm:
        assert collect(tmp_path, [{"query": "q", "answer": "1"}], llm, ["m"]) == 1
        assert "was not made by collect; give --force" in capsys.readouterr().err
        assert (tmp_path / "data" / "precious").read_text() == "x"
        assert collect(tmp_path, [{"query": "q", "answer": "1"}], llm, ["m"], "--force") == 0
    assert not (tmp_path / "data" / "precious").exists()
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith(".")) == []


def test_a_trial_without_an_answer_is_missing_not_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def say(body: Body) -> str:
        return "1"

    rows = [{"id": str(n), "query": f"q{n}", "answer": "1"} for n in range(3)]
    with serving(LoopbackLLM(say)) as llm, serving(LoopbackLLM(say, Faults(status=413))) as refusing:
        pool = write_pool(tmp_path / "pool.yaml", llm.url, ["m", "n"])
        raw = yaml.safe_load(pool.read_text())
        raw["models"][1]["upstream"]["api_base"] = refusing.url
        pool.write_text(yaml.safe_dump(raw))
        given = ["--pool", str(pool), "--out", str(tmp_path / "data"), "--max-usd", "1"]
        assert main(["collect", str(write_rows(tmp_path / "q.jsonl", rows)), *given]) == 3
    assert scores(tmp_path) == {(str(n), "m"): 1.0 for n in range(3)}
    missing = [json.loads(line) for line in (tmp_path / "data" / "missing.jsonl").read_text().splitlines()]
    assert [(each["query_id"], each["model"]) for each in missing] == [(str(n), "n") for n in range(3)]
    out, err = capsys.readouterr()
    assert "3 trials have no grade" in err
    assert out.splitlines()[2].split() == ["n", "0", "-", "?", "-", "0", "3"]


def test_a_kill_in_the_middle_loses_nothing_and_pays_nothing_twice(planted: PlantedData, tmp_path: Path) -> None:
    queries = write_rows(tmp_path / "q.jsonl", planted_rows(planted))
    faults = Faults(overloaded=0.02, broken=0.02, latency_s=0.02)
    with serving(LoopbackLLM(PlantedLLM(planted), faults, idempotent=True)) as llm:
        pool = write_pool(tmp_path / "pool.yaml", llm.url, IDS, limits={"concurrency": 2})
        command = [sys.executable, "-m", "train", "collect", str(queries), "--pool", str(pool), "--max-usd", "1"]
        command += ["--out", str(tmp_path / "data")]
        process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        while llm.requests < 60:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert not (tmp_path / "data").exists()
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "were under way when an earlier run ended" in done.stderr
    assert len(llm.billed) == 120
    assert set(llm.billed.values()) == {1}
    dataset = read_dataset(tmp_path / "data")
    assert np.array_equal(dataset.score, planted.score[:, :3])


def test_at_the_cap_no_folder_is_written_and_a_greater_one_goes_on(
    planted: PlantedData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(LoopbackLLM(PlantedLLM(planted))) as llm:
        assert collect(tmp_path, planted_rows(planted), llm, IDS, "--max-usd", 0.02, "--max-tokens", 500) == 1
        assert "spending cap of $0.02 is reached" in capsys.readouterr().err
        assert not (tmp_path / "data").exists()
        assert 10 < llm.requests < 120
        assert collect(tmp_path, planted_rows(planted), llm, IDS, "--max-tokens", 500) == 0
    assert llm.requests == 120


def test_a_pools_profiles_of_another_checkpoint_are_not_taken_along(tmp_path: Path) -> None:
    with serving(LoopbackLLM(lambda body: Said("1", finish="length"))) as llm:
        pool = write_pool(tmp_path / "pool.yaml", llm.url, ["m"])
        raw = yaml.safe_load(pool.read_text()) | {"protocol": "chat"}
        raw["models"][0] |= {"profile": "gpt-4o-2024-08-06", "allow_prior": True}
        pool.write_text(yaml.safe_dump(raw))
        queries = write_rows(tmp_path / "q.jsonl", [{"query": "q", "answer": "1"}])
        given = ["--pool", str(pool), "--out", str(tmp_path / "data"), "--max-usd", "1", "--quiet"]
        assert main(["collect", str(queries), *given]) == 0
    dataset = read_dataset(tmp_path / "data")
    (candidate,) = read_pool(tmp_path / "data" / "pool.yaml", dataset.systems).candidates
    assert candidate.system is not None
    assert candidate.system.id == "m@chat"
    assert candidate.upstream is not None
