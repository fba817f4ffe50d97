"""`python -m train runs`: what is listed, how runs differ, who is a Pareto member, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from train.__main__ import main as command
from train.runs.command import differences, pareto_members
from train.runs.store import Run, export_runs, read_folders


def make(identity, name, tags, aiq, cost, **config):
    settings = {"model.residual": 0, "model.dropout": 0.1, "data.pools": ["a", "b"]} | config
    metrics = {"train/label": 1.25}
    if aiq is not None:
        metrics |= {"best/aiq_margin": aiq, "best/chat27/aiq_margin": 2 * aiq, "best/chat27/cost_ratio": cost}
    return Run(identity, name, "routemix", tags, "finished", f"2026-11-24T10:00:0{identity[1]}Z", settings, metrics)


RUNS = [
    make("r0", "frozen", ("frozen",), 0.03, 0.9),
    make("r1", "residual", ("frozen", "residual"), 0.04, 0.95, **{"model.residual": 16, "export.folder": "x"}),
    make("r2", "end-to-end", ("tuned",), 0.02, 0.97, **{"model.freeze": False}),
    make("r3", "killed", (), None, None),
]


@pytest.fixture
def folder(tmp_path):
    export_runs(RUNS, tmp_path / "kept")
    return str(tmp_path / "kept")


def test_a_pareto_member_is_one_that_nobody_beats_in_both():
    points = np.array([[1.0, 1.0], [3.0, 1.0], [1.0, 3.0], [3.0, 1.0], [2.0, 0.5], [np.nan, 9.0]])
    assert pareto_members(points).tolist() == [False, True, True, True, False, False]
    order = np.array([3, 5, 0, 1, 4, 2])
    assert pareto_members(points[order]).tolist() == pareto_members(points)[order].tolist()


def test_settings_differ_in_value_or_by_being_there():
    assert differences([{"a": 1, "b": None, "c": [1]}, {"a": 2, "c": [1]}, {"a": 1, "d": 0}]) == {
        "a": [1, 2, 1],
        "c": [[1], [1], None],
        "d": [None, None, 0],
    }
    assert differences([{"a": 1}]) == {}


def test_runs_are_listed_with_group_tags_state_and_the_aiq_margin_of_each_pool(folder, capsys):
    assert command(["runs", "--folder", folder]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:5] == [
        ["run", "group", "tags", "state", "mean", "chat27"],
        ["frozen", "routemix", "frozen", "finished", "0.03", "0.06"],
        ["residual", "routemix", "frozen,residual", "finished", "0.04", "0.08"],
        ["end-to-end", "routemix", "tuned", "finished", "0.02", "0.04"],
        ["killed", "routemix", "-", "finished", "-", "-"],
    ]


def test_group_tag_and_metrics_choose_what_is_shown(folder, capsys):
    assert (
        command(["runs", "--folder", folder, "--tag", "residual", "--metrics", "chat27/cost_ratio", "train/label"]) == 0
    )
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[-2:] == ["best/chat27/cost_ratio", "train/label"]
    assert row.split()[0] == "residual" and row.split()[-2:] == ["0.95", "1.25"]


def test_pareto_members_of_least_cost_and_greatest_margin_are_marked(folder, capsys):
    assert command(["runs", "--folder", folder, "--pareto", "chat27/cost_ratio:min", "chat27/aiq_margin"]) == 0
    marked = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("*")]
    assert marked == ["frozen", "residual"]
    assert command(["runs", "--folder", folder, "--pareto", "chat27/cost_ratio", "chat27/aiq_margin", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pareto"] == {
        "metrics": ["best/chat27/cost_ratio", "best/chat27/aiq_margin"],
        "members": ["r1", "r2"],
    }


def test_a_diff_shows_what_was_set_otherwise_and_the_metrics_side_by_side(folder, capsys):
    goals = ["--pareto", "aiq_margin", "chat27/cost_ratio:min"]
    assert command(["runs", "--folder", folder, "--diff", "residual", "r2", *goals]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["setting", "residual", "end-to-end"],
        ["model.freeze", "-", "false"],
        ["model.residual", "16", "0"],
        "(and 1 of paths; --json has them)".split(),
        [],
        ["metric", "residual", "end-to-end"],
        ["best/aiq_margin", "0.04", "0.02"],
        ["best/chat27/aiq_margin", "0.08", "0.04"],
        ["best/chat27/cost_ratio", "0.95", "0.97"],
        ["pareto", "yes", "no"],
    ]


def test_json_holds_all_of_a_diff(folder, capsys):
    assert command(["runs", "--folder", folder, "--diff", "frozen", "residual", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema_version"] == 1
    assert [run["name"] for run in answer["runs"]] == ["frozen", "residual", "end-to-end", "killed"]
    assert answer["diff"]["config"] == {"export.folder": [None, "x"], "model.residual": [0, 16]}
    assert answer["diff"]["metrics"]["best/aiq_margin"] == [0.03, 0.04]


def test_what_is_listed_is_exported_and_the_copy_answers_alike(folder, tmp_path, capsys):
    copy = tmp_path / "copy"
    assert command(["runs", "--folder", folder, "--tag", "frozen", "--export", str(copy)]) == 0
    assert capsys.readouterr().err.count("train: wrote ") == 2
    assert read_folders([copy]) == RUNS[:2]
    answers = []
    for where in (folder, str(copy)):
        assert command(["runs", "--folder", where, "--diff", "frozen", "residual"]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]


def test_runs_of_one_name_are_told_apart_by_id(tmp_path, capsys):
    export_runs([make("r0", "same", (), 0.1, 1.0), make("r1", "same", (), 0.2, 1.0)], tmp_path)
    assert command(["runs", "--folder", str(tmp_path)]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[:3]] == [
        ["run", "id"],
        ["same", "r0"],
        ["same", "r1"],
    ]
    assert command(["runs", "--folder", str(tmp_path), "--diff", "r0", "same"]) == 1
    assert "2 runs are called 'same'; give an id: r0, r1" in capsys.readouterr().err
    assert command(["runs", "--folder", str(tmp_path), "--diff", "r1", "r0"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "the configurations do not differ"


def test_without_a_folder_those_of_this_directory_are_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command(["runs"]) == 1
    assert "no run in runs and docs/runs" in capsys.readouterr().err
    export_runs(RUNS[:1], Path("docs/runs"))
    export_runs(RUNS[1:2], Path("runs"))
    assert command(["runs"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3]] == ["frozen", "residual"]


def test_a_run_that_only_wandbs_file_tells_of_is_one_line(folder, capsys):
    (Path(folder) / "wandb").mkdir()
    (Path(folder) / "wandb" / "run-old.wandb").touch()
    assert command(["runs", "--folder", folder]) == 0
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 7
    (line,) = output.err.splitlines()
    assert "older versions wrote only W&B's own file: 1, such as" in line and "run-old.wandb" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--group", "routemax"], "group routemax and tag None (None: any); known: routemix"),
        (["--diff", "frozzen", "r1"], "no run here is called 'frozzen'; known: frozen"),
        (["--metrics", "chat27/aiq"], "no run here has the metric 'chat27/aiq'; known: best/chat27/aiq_margin"),
        (["--pareto", "aiq_margin:least", "train/label"], "write METRIC:max (the default) or METRIC:min"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_known(folder, capsys, arguments, message):
    assert command(["runs", "--folder", folder, *arguments]) == 1
    output = capsys.readouterr()
    assert output.out == "" and message in output.err and len(output.err.splitlines()) == 1
