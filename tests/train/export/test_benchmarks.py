"""`python -m train benchmarks`: what known models scored, from rows of training alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fixtures.tiny_checkpoint import edit

from router.checkpoint.layout import LAYOUT
from router.checkpoint.storage import load_checkpoint
from router.pools.models import System
from train.__main__ import main
from train.data.published_scores import FILE
from train.export.benchmarks import FEWEST, benchmark_scores

SYSTEMS = (System("a", "chat"), System("b", "chat"), System("a", "exam"))  # S


def by_hand() -> SimpleNamespace:
    """FEWEST rows of a benchmark, one less of another; `a` scores on every fourth row, `b` lacks the first."""
    benchmark = ["big"] * FEWEST + ["small"] * (FEWEST - 1)
    n = len(benchmark)
    score = np.full((n, 4), np.nan, np.float32)
    score[:, 1] = np.arange(n) % 4 == 0
    score[1:, 2] = 1.0
    score[:, 3] = 1 / 3
    columns = {SYSTEMS[0]: 1, SYSTEMS[1]: 2, SYSTEMS[2]: 3}
    return SimpleNamespace(
        queries=pd.DataFrame({"benchmark": benchmark}),
        score=score,
        columns=lambda systems: np.array([columns[system] for system in systems]),
        folders=(),
    )


def test_a_score_is_the_mean_of_enough_answers_by_benchmark_and_protocol():
    data = by_hand()
    found = benchmark_scores(data, np.arange(len(data.score)), SYSTEMS)
    assert found.scores == {("big", "chat"): {"a": 0.25}, ("big", "exam"): {"a": 0.3333}}
    assert benchmark_scores(data, np.arange(len(data.score) - 1), SYSTEMS[1:2]).scores == {}


def test_published_scores_are_passed_on_where_their_terms_allow_it(tmp_path):
    data, columns = by_hand(), ["model", "benchmark", "score", "unit", "origin"]
    rows = [
        ("a", "gpqa", 0.5, "fraction", "epoch"),
        ("a", "gpqa", 0.7, "fraction", "livebench"),
        ("b", "gpqa", 0.9, "fraction", "artificial_analysis"),
        ("b", "big", 0.9, "fraction", "epoch"),  # the folder's own mean stands
        ("c", "gpqa", 0.1, "fraction", "epoch"),
    ]
    pd.DataFrame(rows, columns=columns).to_parquet(tmp_path / FILE)
    data.folders = (tmp_path,)
    found = benchmark_scores(data, np.arange(len(data.score)), SYSTEMS).scores
    assert found["gpqa", "chat"] == found["gpqa", "exam"] == {"a": 0.6}
    assert set(found["big", "chat"]) == {"a"}


def test_only_the_rows_given_count():
    data = by_hand()
    data.queries["benchmark"] = "one"
    rows = np.flatnonzero(np.arange(len(data.score)) % 4 != 0)  # those that `a` never scores on
    assert benchmark_scores(data, rows, SYSTEMS[:2]).scores == {("one", "chat"): {"a": 0.0, "b": 1.0}}


# The command


@pytest.fixture
def trained(planted_checkpoint: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copies of the planted data and of its checkpoint, which says that it was trained on folds 0 to 6."""
    for name, folder in zip(("data", "router"), planted_checkpoint, strict=True):
        shutil.copytree(folder, tmp_path / name)
    about = {"data": {"ood_benchmarks": [], "train_folds": [0, 1, 2, 3, 4, 5, 6]}}
    edit(tmp_path / "router" / "config.json", lambda raw: raw.update(training=about))
    return tmp_path / "data", tmp_path / "router"


def write(data: Path, router: Path) -> bytes:
    assert main(["benchmarks", str(router), "--data", str(data)]) == 0
    return (router / LAYOUT.benchmarks).read_bytes()


def test_the_file_holds_the_means_of_the_training_folds_and_is_loaded(trained, capsys):
    data, router = trained
    assert load_checkpoint(router).benchmarks.scores == {}  # an older checkpoint
    write(data, router)
    queries = pd.read_parquet(data / "queries.parquet")
    table = pd.read_parquet(data / "outcomes.parquet").merge(queries[queries["fold"] < 7], on="query_id")
    groups = table.groupby(["benchmark", "model"])["score"].agg(["mean", "count"])
    expected = groups[groups["count"] >= FEWEST]["mean"].round(4).to_dict()
    found = load_checkpoint(router).benchmarks
    assert 1 < len(found.names) < 10
    assert {(name, model): score for (name, _), scores in found.scores.items() for model, score in scores.items()} == (
        pytest.approx(expected, abs=1e-4)
    )
    assert {protocol for _, protocol in found.scores} == {"planted"}
    assert capsys.readouterr().out == f"{len(expected)} scores of {len(found.names)} benchmarks\n"


def test_an_outcome_outside_of_the_training_folds_changes_nothing_and_one_inside_does(trained):
    data, router = trained
    before = write(data, router)
    fold = pd.read_parquet(data / "queries.parquet").set_index("query_id")["fold"]
    table = pd.read_parquet(data / "outcomes.parquet")
    outside = table["query_id"].map(fold) >= 7
    for rows, same in ((outside, True), (~outside, False)):
        table.loc[rows, "score"] = 1 - table.loc[rows, "score"]
        table.to_parquet(data / "outcomes.parquet")
        assert (write(data, router) == before) is same


def test_a_benchmark_that_training_never_saw_is_left_out(trained):
    data, router = trained
    write(data, router)
    name = load_checkpoint(router).benchmarks.names[0]
    queries = pd.read_parquet(data / "queries.parquet")
    queries.loc[queries["benchmark"] == name, "split"] = "ood"
    queries.to_parquet(data / "queries.parquet")
    write(data, router)
    assert name not in load_checkpoint(router).benchmarks.names
    edit(router / "config.json", lambda raw: raw["training"]["data"].update(ood_benchmarks=[name]))
    write(data, router)
    assert name in load_checkpoint(router).benchmarks.names


@pytest.mark.parametrize("training", [{}, {"data": None}, {"data": {"train_folds": [0]}}, {"data": "planted"}])
def test_a_checkpoint_that_does_not_tell_its_rows_is_refused(trained, capsys, training):
    data, router = trained
    edit(router / "config.json", lambda raw: raw.update(training=training))
    assert main(["benchmarks", str(router), "--data", str(data)]) == 1
    error = capsys.readouterr().err
    assert error == (f"train: error: {router} has no record of its training rows (training.data in its config.json)\n")
    assert not (router / LAYOUT.benchmarks).exists()


def test_a_users_mistake_is_one_line(trained, capsys):
    data, router = trained
    for argv, message in (
        ([str(router), "--data", "nowhere"], "no data at nowhere"),
        (["nowhere/at/all", "--data", str(data)], "nowhere/at/all"),
    ):
        assert main(["benchmarks", *argv]) == 1
        error = capsys.readouterr().err
        assert error.startswith("train: error: ") and message in error and len(error.splitlines()) == 1


def test_a_file_that_was_broken_by_hand_stops_the_checkpoint_with_its_name(trained):
    from router.errors import CheckpointError

    data, router = trained
    write(data, router)
    edit(router / LAYOUT.benchmarks, lambda raw: raw[0].pop("scores"))
    with pytest.raises(CheckpointError, match=r"benchmarks\.json: no benchmark scores \(.*; delete the file, or write"):
        load_checkpoint(router)
    (router / LAYOUT.benchmarks).unlink()
    assert load_checkpoint(router).benchmarks.scores == {}
    assert json.loads(write(data, router))
