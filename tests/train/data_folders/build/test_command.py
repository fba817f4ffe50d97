"""`python -m train build`: a data folder from benchmarks and outcomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fixtures.benchmark_rows import ROWS
from fixtures.published_outcomes import ROUTERBENCH

from router.errors import DataError
from router.evaluation.dataset import read_dataset
from train.__main__ import main
from train.data_folders.build.benchmarks import BENCHMARKS, INDEX, TESTS, named
from train.data_folders.build.command import table
from train.data_folders.build.hub import read_benchmark
from train.data_folders.build.sources import read_llmrouterbench, read_routerbench, read_sprout
from train.data_folders.check.folder import read_folder
from train.data_folders.check.rules.texts import duplicate_findings


def write_rows(folder: Path, files: dict[str, list[dict[str, Any]]]) -> Path:
    folder.mkdir(parents=True)
    for name, rows in files.items():
        if name.endswith(".csv"):
            pd.DataFrame(rows).to_csv(folder / name, index=False)
        elif name == "Hi-ToM_data.json":
            (folder / name).write_text(json.dumps({"data": rows}))
        else:
            (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of every benchmark of the table, from local files."""
    root = tmp_path_factory.mktemp("build")
    sources = [f"--source={name}={write_rows(root / name, files)}" for name, files in ROWS.items()]
    assert main(["build", "--out", str(root / "out"), *sources]) == 0
    return root / "out"


def texts(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "queries.parquet").set_index("benchmark")


def test_the_table_names_the_24_benchmarks_and_the_4_tests_and_none_is_verified() -> None:
    assert len({row.name for row in INDEX}) == 24
    assert {row.name for row in TESTS} == {"mmlu-pro", "gpqa", "biggen-bench", "livebench"}
    assert not any(row.verified for row in BENCHMARKS)
    assert set(ROWS) == {row.name for row in BENCHMARKS}
    assert "mmlu          index  choice  no        cais/mmlu all [test]" in table()


def test_every_benchmark_becomes_queries_with_an_answer_where_it_has_one(built: Path) -> None:
    queries = texts(built)
    assert set(queries.index) == set(ROWS)
    for name, files in ROWS.items():
        assert len(queries.loc[[name]]) == sum(map(len, files.values())), name
    assert not queries["text"].str.contains(r"[{}]").any()
    without = queries.index[queries["answer"].isna()]
    assert set(without) == {"bigcodebench", "ifeval", "livebench"}
    assert queries["grade"].isin(["exact", "choice", "number", "code", "judge"]).all()
    assert queries["tests"]["bigcodebench"].startswith("assert f() > 1") and queries["rubric"]["biggen-bench"] == "c"


def test_prompts_hold_what_a_model_needs(built: Path) -> None:
    queries = texts(built)
    text = queries["text"]
    assert text["mmlu"].endswith("Which gas do most green plants take up?\n\n(A) oxygen\n(B) carbon dioxide")
    assert text["finqa"].startswith("Sales rose.\n\nyear | sales\n2020 | 107\n\nAll in millions.\n\nQuestion: ")
    assert "who | points\nAnn | 3" in text["tablebench"]
    assert "into German" in text["flores"] and queries["answer"]["flores"].startswith("Die Fähre")
    assert "row 1, column 2: square, size 1" in text["raven"] and "(H) triangle, size 15" in text["raven"]
    assert text["biggen-bench"] == "You are brief.\n\nPlan a picnic."
    assert queries["answer"]["gsm8k"] == "12" and queries["answer"]["medqa"] == "B"
    assert sorted(queries.loc["arc"]["answer"]) == ["A", "B"]


def test_options_with_the_right_one_first_are_shuffled_and_the_answer_follows(built: Path) -> None:
    row = texts(built).loc["gpqa"]
    assert f"({row['answer']}) about 2 MeV" in row["text"]


def test_images_are_never_decoded_and_queries_with_one_are_left_out(tmp_path: Path) -> None:
    import datasets

    row = ROWS["scienceqa"]["test.jsonl"][0]
    rows = [row, {**row, "question": "What does this picture show?", "image": {"bytes": b"no image", "path": None}}]
    made = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    (tmp_path / "files").mkdir()
    made.to_parquet(tmp_path / "files" / "test.parquet")
    part = read_benchmark(named("scienceqa"), tmp_path / "files")
    assert len(part.queries) == 1
    assert part.left_out == {"records that the benchmark's row does not want": 1}


def test_a_limit_holds_for_each_subset(tmp_path: Path) -> None:
    row = ROWS["race"]["high.jsonl"][0]
    folder = write_rows(tmp_path / "race", {"high.jsonl": [row] * 3, "middle.jsonl": [row] * 3})
    assert read_benchmark(named("race"), folder, limit=2).queries["category"].tolist() == ["high"] * 2 + ["middle"] * 2


def test_tests_are_held_out_and_their_twins_marked(built: Path) -> None:
    queries = texts(built)
    assert set(queries["split"][["mmlu-pro", "gpqa", "biggen-bench", "livebench"]]) == {"ood"}
    assert bool(queries["ood_twin"]["mmlu"]) and not queries["ood_twin"]["medqa"]
    assert queries["fold"]["mmlu"] == queries["fold"]["mmlu-pro"]  # the same question with other options


def test_a_folder_without_outcomes_reads_and_the_manifest_tells_where_all_is_from(built: Path) -> None:
    dataset = read_dataset(built)
    assert dataset.score.shape == (len(dataset.queries), 0)
    manifest = json.loads((built / "manifest.json").read_text())
    part = next(part for part in manifest["parts"] if part["name"] == "mmlu")
    assert part["origin"].endswith("/mmlu") and part["queries"] == 1 and part["verified"] is False


def plain_file(folder: Path, queries: list[str]) -> Path:
    rows = [{"text": text, "model": model, "score": 1.0} for text in queries for model in ("a", "b")]
    pd.DataFrame(rows).to_csv(folder / "plain.csv", index=False)
    return folder / "plain.csv"


def test_twins_and_near_twins_never_straddle_folds(tmp_path: Path) -> None:
    """Sixty questions, each three times: with other options, in capitals, and with a sentence added."""
    words = [a + b for a in ("ba", "lo", "mi", "tu", "sha", "ve") for b in ("rin", "dek", "pol")]
    rng = np.random.default_rng(0)
    asked = []
    for _ in range(60):
        stem = "Which of these was " + " ".join(rng.choice(words, 14)) + "?"
        asked += [f"{stem}\n(A) one\n(B) two", f"{stem.upper()}\n(A) six\n(B) ten", f"{stem} Answer with a letter."]
    assert main(["build", "--out", str(tmp_path / "out"), "--outcomes", f"plain={plain_file(tmp_path, asked)}"]) == 0
    queries = pd.read_parquet(tmp_path / "out" / "queries.parquet")
    assert queries.groupby("group").size().eq(3).all() and queries["group"].nunique() == 60
    assert queries.groupby("group")["fold"].nunique().eq(1).all() and queries["fold"].nunique() > 5
    assert list(duplicate_findings(read_folder(tmp_path / "out"))) == []


def test_outcomes_prices_and_costs_reach_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame(ROUTERBENCH).to_parquet(tmp_path / "rb.parquet")
    prices = {"model": ["gpt-4"], "input_usd_per_mtok": [10.0], "output_usd_per_mtok": [30.0]}
    pd.DataFrame(prices).to_csv(tmp_path / "m.csv", index=False)
    bench, mine = f"routerbench@rb-0shot={tmp_path / 'rb.parquet'}", f"plain={plain_file(tmp_path, ['Why?'])}"
    alone = ["--out", str(tmp_path / "alone"), "--outcomes", bench, "--models", str(tmp_path / "m.csv")]
    assert main(["build", *alone]) == 0
    dataset = read_dataset(tmp_path / "alone")
    assert {system.id for system in dataset.systems} == {"gpt-4@rb-0shot", "mixtral@rb-0shot"}
    assert dataset.cost_usd is not None and dataset.models["gpt-4"].output_usd_per_mtok == 30
    assert dataset.models["mixtral"].priced is False
    assert main(["build", "--out", str(tmp_path / "both"), "--outcomes", bench, "--outcomes", mine]) == 0
    assert "4 of 6 outcomes have a cost, the others none: costs are left out" in capsys.readouterr().out
    assert read_dataset(tmp_path / "both").cost_usd is None


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, mine = tmp_path / "out", f"--outcomes=plain={plain_file(tmp_path, ['Why?'])}"
    bad = write_rows(tmp_path / "mmlu", {"all.jsonl": [{"question": "Which?", "choices": ["a"]}]})
    assert main(["build", "--out", str(target), mine, f"--source=mmlu={bad}"]) == 1
    assert "record 0: no field 'subject' in a row" in capsys.readouterr().err and not target.exists()
    assert main(["build", "--out", str(target), mine]) == 0
    assert main(["build", "--out", str(target), mine]) == 2 and "give --force to replace it" in capsys.readouterr().err
    assert main(["build", "--out", str(target), mine, "--force"]) == 0
    assert main(["build", "--out", str(tmp_path / "mmlu"), mine]) == 2
    assert "was not built by this command" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mmlu", "out", "plain.csv"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "nothing to build: give --benchmarks"),
        (["--benchmarks", "mnlu"], "unknown benchmark 'mnlu'; nearest of 28: mmlu"),
        (["--outcomes", "routebench=x"], "unknown format 'routebench'; known: routerbench"),
        (["--outcomes", "plain=nowhere.csv"], "there is no nowhere.csv"),
        (["--source", "mmlu"], "--source mmlu: expected NAME=FOLDER"),
        (["--limit", "0"], "--limit is 0, allowed is 1 or more"),
    ],
)
def test_wrong_usage_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    assert main(["build", "--out", str(tmp_path / "out"), *args]) == 2
    assert message in capsys.readouterr().err


def test_without_a_hub_the_error_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--out", str(tmp_path / "out"), "--benchmarks", "gsm8k"]) == 1
    said = capsys.readouterr().err
    assert "gsm8k cannot be read from openai/gsm8k" in said and "give --source gsm8k=FOLDER" in said


def test_another_schema_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"prompt": ["x"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"lacks the columns \['sample_id', 'eval_name'\]"):
        read_routerbench(tmp_path / "other.parquet", "routerbench")
    with pytest.raises(DataError, match="no column of structs with a score"):
        pd.DataFrame({"prompt": ["x"], "dataset": ["d"]}).to_parquet(tmp_path / "s.parquet")
        read_sprout(tmp_path / "s.parquet", "sprout")
    with pytest.raises(DataError, match="no JSON file with records"):
        read_llmrouterbench(tmp_path, "llmrouterbench")
