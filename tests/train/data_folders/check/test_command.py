"""Faults planted one at a time into a generated folder: each is found, where it is, and nothing else is reported."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from router.errors import DataError
from train.__main__ import main
from train.data_folders.check.command import check, exit_code
from train.data_folders.synthetic.command import write_planted

TODAY = datetime.date(2026, 11, 25)


@dataclass
class Tables:
    """The files of a folder, to be spoilt."""

    queries: pd.DataFrame
    outcomes: pd.DataFrame
    models: pd.DataFrame
    annotations: list[dict[str, object]]
    rng: np.random.Generator

    def cells(self, model: str | None = None, benchmark: str | None = None) -> pd.Series:
        """Mask of the outcomes of a model, on a benchmark."""
        mask = pd.Series(True, index=self.outcomes.index)
        if model:
            mask &= self.outcomes["model"] == model
        if benchmark:
            ids = self.queries["query_id"][self.queries["benchmark"] == benchmark]
            mask &= self.outcomes["query_id"].isin(ids)
        return mask

    def copy_query(self, row: int, query_id: str, **changes: object) -> None:
        """Add a copy of a query with its outcomes."""
        old = self.queries.iloc[row]
        outcomes = self.outcomes[self.outcomes["query_id"] == old["query_id"]].assign(query_id=query_id)
        added = pd.DataFrame([{**old.to_dict(), "query_id": query_id, "group": query_id, **changes}])
        self.queries = pd.concat([self.queries, added], ignore_index=True)
        self.outcomes = pd.concat([self.outcomes, outcomes], ignore_index=True)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "clean"
    write_planted(folder, 2000, seed=1)
    return folder


def read(folder: Path) -> Tables:
    notes = [json.loads(line) for line in (folder / "annotations.jsonl").read_text().splitlines()]
    return Tables(
        pd.read_parquet(folder / "queries.parquet"),
        pd.read_parquet(folder / "outcomes.parquet"),
        pd.read_csv(folder / "models.csv"),
        notes,
        np.random.default_rng(0),
    )


def spoilt(clean: Path, folder: Path, spoil: Callable[[Tables], None]) -> Path:
    """A copy of the clean folder with a fault."""
    tables = read(clean)
    spoil(tables)
    shutil.copytree(clean, folder)
    tables.queries.to_parquet(folder / "queries.parquet", index=False)
    tables.outcomes.to_parquet(folder / "outcomes.parquet", index=False)
    tables.models.to_csv(folder / "models.csv", index=False)
    (folder / "annotations.jsonl").write_text("".join(json.dumps(note) + "\n" for note in tables.annotations))
    return folder


def twin_in_another_fold(tables: Tables) -> None:
    tables.copy_query(3, "twin", text=tables.queries["text"][3].upper() + " ", fold=9 - tables.queries["fold"][3])


def twin_with_other_options(tables: Tables) -> None:
    stem = "Which of these planets has the most moons of all?"
    tables.copy_query(3, "one", text=f"{stem}\n(A) Mars\n(B) Saturn", fold=1)
    tables.copy_query(4, "two", text=f"{stem}\n(A) Venus\n(B) Saturn\n(C) Earth", fold=8)


def nearly_the_same_text_in_another_fold(tables: Tables) -> None:
    text = (
        tables.queries["text"][5] + " Nine old lanterns stood beside the frozen harbour that winter while gulls slept."
    )
    tables.copy_query(5, "long", text=text, fold=2)
    tables.copy_query(5, "near", text=text.replace("gulls", "geese"), fold=8)


def unmarked_twin_of_an_unseen_benchmark(tables: Tables) -> None:
    row = tables.queries.index[tables.queries["fold"] == 4][0]
    tables.copy_query(int(row), "unseen", benchmark="unseen", split="ood")


def outcome_given_twice(tables: Tables) -> None:
    again = tables.outcomes.iloc[[7]]
    tables.outcomes = pd.concat([tables.outcomes, again.assign(score=1 - again["score"])], ignore_index=True)


def text_graded_both_ways(tables: Tables) -> None:
    tables.copy_query(3, "again", group=tables.queries["group"][3])
    mine = tables.outcomes["query_id"] == "again"
    tables.outcomes.loc[mine, "score"] = 1 - tables.outcomes.loc[mine, "score"]


def model_never_right(tables: Tables) -> None:
    tables.outcomes.loc[tables.cells("planted-coder"), "score"] = 0.0


def model_answers_nothing(tables: Tables) -> None:
    tables.outcomes.loc[tables.cells("planted-coder"), "output_chars"] = 0


def constant_score(tables: Tables) -> None:
    tables.outcomes.loc[tables.cells("planted-medic", "planted-coding"), "score"] = 0.5


def grader_reads_one_answer_for_all(tables: Tables) -> None:
    mine = tables.cells(benchmark="planted-coding")
    first = tables.outcomes[mine].groupby("query_id")["score"].transform("first")
    tables.outcomes.loc[mine, "score"] = first


def format_the_grader_cannot_read(tables: Tables) -> None:
    mine = tables.cells("planted-large", "planted-reasoning")
    tables.outcomes.loc[mine, "score"] = (tables.rng.random(mine.sum()) < 0.02).astype(np.float32)


def rows_of_a_model_out_of_order(tables: Tables) -> None:
    mine = tables.cells("planted-large")
    tables.outcomes.loc[mine, "score"] = tables.rng.permutation(tables.outcomes.loc[mine, "score"].to_numpy())


def rows_of_all_out_of_order_on_a_benchmark(tables: Tables) -> None:
    for model in tables.models["model"]:
        mine = tables.cells(model, "planted-writing")
        tables.outcomes.loc[mine, "score"] = tables.rng.permutation(tables.outcomes.loc[mine, "score"].to_numpy())


def protocols_in_different_orders(tables: Tables) -> None:
    ids = tables.queries["query_id"].to_numpy()
    shuffled = dict(zip(ids, tables.rng.permutation(ids), strict=True))
    other = tables.outcomes.assign(protocol="other", query_id=tables.outcomes["query_id"].map(shuffled))
    kept = other["query_id"].isin(tables.queries["query_id"][tables.queries["benchmark"] == "planted-coding"])
    tables.outcomes = pd.concat([tables.outcomes, other[kept]], ignore_index=True)


def category_half_missing(tables: Tables) -> None:
    tables.queries["category"] = np.where(np.arange(len(tables.queries)) % 4, "rest", "disputed")
    tables.queries["benchmark"] = "planted-all"
    tables.queries["category"] += tables.queries["fold"].mod(2).astype(str)
    lost = tables.queries["query_id"][tables.queries["category"] == "disputed1"][::10].to_list()
    gone = tables.queries["query_id"][tables.queries["category"] == "disputed1"]
    tables.outcomes = tables.outcomes[~tables.outcomes["query_id"].isin(set(gone) - set(lost))]


def instruction_lost(tables: Tables) -> None:
    nouns = [f"{a}{b}" for a in ("bal", "lam", "tor", "vek", "sud", "rin", "pol") for b in "aeiou fghklmnprs"]
    mine = tables.queries["benchmark"] == "planted-writing"
    tables.queries.loc[mine, "text"] = [
        ", ".join(tables.rng.choice(nouns, 9, replace=False)) for _ in range(mine.sum())
    ]


def price_missing(tables: Tables) -> None:
    tables.models.loc[tables.models["model"] == "planted-tiny", "output_usd_per_mtok"] = np.nan


def price_per_token(tables: Tables) -> None:
    tables.models["input_usd_per_mtok"] /= 1e6


def prices_of_long_ago(tables: Tables) -> None:
    tables.models["price_date"] = "2025-01"


def capability_hardly_annotated(tables: Tables) -> None:
    kept = [note for note in tables.annotations if "agentic" not in note["capabilities"]]  # type: ignore[operator]
    tables.annotations = kept


def capability_misspelt(tables: Tables) -> None:
    tables.annotations[0]["capabilities"] = ["coding", "Instruction-Following"]


def benchmark_without_annotations(tables: Tables) -> None:
    ids = set(tables.queries["query_id"][tables.queries["benchmark"] == "planted-writing"])
    tables.annotations = [note for note in tables.annotations if note["query_id"] not in ids]


def no_annotations(tables: Tables) -> None:
    tables.annotations = []


def price_without_outcomes(tables: Tables) -> None:
    tables.models.loc[len(tables.models)] = {**tables.models.iloc[0], "model": "planted-idle"}


FAULTS = [  # the fault, the kinds reported, and what the place or figures must name
    (twin_in_another_fold, {"twins across folds"}, "2 queries ask 1 question"),
    (twin_with_other_options, {"twins across folds"}, "2 queries ask 1 question"),
    (nearly_the_same_text_in_another_fold, {"near duplicates across folds"}, "1 pair"),
    (unmarked_twin_of_an_unseen_benchmark, {"unmarked twins"}, "1 quer"),
    (outcome_given_twice, {"contradictory outcomes"}, "1 outcomes are given again"),
    (text_graded_both_ways, {"contradictory outcomes", "repeated texts"}, "2 queries repeat a text"),
    (model_never_right, {"never answers"}, "planted-coder@planted"),
    (model_answers_nothing, {"never answers"}, "2,000 of 2,000 answers are empty"),
    (constant_score, {"constant outcomes"}, "planted-medic@planted on planted-coding"),
    (grader_reads_one_answer_for_all, {"constant outcomes"}, "planted-coding, under planted"),
    (format_the_grader_cannot_read, {"format artefact"}, "planted-large@planted on planted-reasoning"),
    (rows_of_a_model_out_of_order, {"scrambled rows"}, "planted-large@planted on all it answered"),
    (rows_of_all_out_of_order_on_a_benchmark, {"no common signal"}, "planted-writing, under planted"),
    (protocols_in_different_orders, {"contradictory protocols"}, "planted-coding, under other and planted"),
    (category_half_missing, {"gaps"}, "planted-all, disputed1"),
    (instruction_lost, {"lost instruction"}, "planted-writing"),
    (price_missing, {"missing prices"}, "1 of 10 models"),
    (price_per_token, {"unlikely prices"}, "10 models"),
    (prices_of_long_ago, {"prices out of date"}, "of 2025-01"),
    (capability_hardly_annotated, {"label coverage"}, "agentic 0"),
    (capability_misspelt, {"label coverage"}, "'Instruction-Following' (1)"),
    (benchmark_without_annotations, {"label coverage"}, "planted-writing"),
    (no_annotations, {"label coverage"}, "no query is annotated"),
    (price_without_outcomes, {"never answers"}, "1 models have prices but no outcome"),
]


def test_nothing_is_reported_of_a_clean_folder(clean: Path) -> None:
    assert check(clean, TODAY) == []


@pytest.mark.parametrize(("spoil", "kinds", "named"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_fault_is_found_and_nothing_else(
    clean: Path, tmp_path: Path, spoil: Callable[[Tables], None], kinds: set[str], named: str
) -> None:
    findings = check(spoilt(clean, tmp_path / "spoilt", spoil), TODAY)
    assert {finding.kind for finding in findings} == kinds
    assert any(named in f"{finding.where}: {finding.what}" for finding in findings), findings
    assert all(finding.advice for finding in findings)


def test_the_command_prints_findings_writes_reports_and_tells_by_its_exit_code(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def two(tables: Tables) -> None:
        price_missing(tables)
        twin_in_another_fold(tables)

    folder = str(spoilt(clean, tmp_path / "spoilt", two))
    as_of = ["--as-of", "2026-11-25"]
    assert main(["check", str(clean), *as_of]) == 0
    assert "0 errors, 0 warnings, 0 notes" in capsys.readouterr().out
    assert main(["check", folder, *as_of, "--output", str(tmp_path / "report.json")]) == 3
    printed = capsys.readouterr().out
    assert printed.startswith("error    twins across folds: planted-")
    assert "do: draw folds from a hash" in printed and printed.rstrip().endswith("1 error, 1 warning, 0 notes")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["error"] == 1 and set(report["findings"][0]["rows"]) == {"planted/3", "twin"}
    assert main(["check", folder, *as_of, "--output", str(tmp_path / "report.md")]) == 3
    assert "| warning | missing prices | models.csv |" in (tmp_path / "report.md").read_text()


def test_two_models_are_enough_to_see_that_one_never_answers(clean: Path, tmp_path: Path) -> None:
    def two_models(tables: Tables) -> None:
        model_never_right(tables)
        kept = tables.outcomes["model"].isin(["planted-coder", "planted-large"])
        tables.outcomes = tables.outcomes[kept]
        tables.models = tables.models[tables.models["model"].isin(["planted-coder", "planted-large"])]

    findings = check(spoilt(clean, tmp_path / "spoilt", two_models), TODAY)
    assert [(finding.kind, finding.where) for finding in findings] == [("never answers", "planted-coder@planted")]


def test_notes_alone_are_nothing_wrong(clean: Path, tmp_path: Path) -> None:
    findings = check(spoilt(clean, tmp_path / "spoilt", price_without_outcomes), TODAY)
    assert [finding.level for finding in findings] == ["note"] and exit_code(findings) == 0


def test_a_folder_that_cannot_be_read_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"train: error: no data at {tmp_path}")
    assert main(["check", str(tmp_path), "--output", str(tmp_path / "report.txt")]) == 2
    assert "name a .json or .md file in an existing folder" in capsys.readouterr().err


def test_training_still_refuses_an_outcome_given_twice(clean: Path, tmp_path: Path) -> None:
    from router.evaluation.dataset import read_dataset

    folder = spoilt(clean, tmp_path / "spoilt", outcome_given_twice)
    with pytest.raises(DataError, match="one row per query, model and protocol"):
        read_dataset(folder)
    assert read_dataset(folder, repeated="first").score.shape == (2000, 10)


@pytest.mark.full
def test_of_routemix_open_it_reports_what_its_readme_names_and_little_else() -> None:
    if "ROUTEMIX_DIR" not in os.environ:
        pytest.skip("ROUTEMIX_DIR names no data folder")
    findings = check(os.environ["ROUTEMIX_DIR"], TODAY)
    said = [f"{finding.kind}: {finding.where}" for finding in findings]
    for named in (
        "gaps: mmlu-redux, virology",
        "format artefact: llama3-chatqa-1.5-70b@small-0shot on arc-challenge, commonsense-qa, mmlu, openbook-qa",
        "format artefact: llama3-chatqa-1.5-8b@small-0shot on mmlu",
        "lost instruction: commongen",
        "no common signal: commongen",
        "marked twins: mmlu-redux (2,555)",
        "label coverage: annotations.jsonl",
        "prices out of date: models.csv",
    ):
        assert any(each.startswith(named) for each in said), (named, said)
    assert len(findings) <= 15, said
