"""Runs are read alike from their logs, from W&B's server (a fake one) and from exported JSON."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace

import pytest
import wandb

from router.errors import DataError, UsageError
from train.runs.run_log import RunLog
from train.runs.store import Run, export_runs, only_in_wandb, read_folders, read_online, read_run

LOGGED = Run(
    id="b1",
    name="frozen",
    group="routemix",
    tags=("frozen", "seed 0"),
    state="finished",
    started="2026-11-24T10:00:00Z",
    config={"model.residual": 0, "data.pools": ["a.yaml"], "data.folder": None},
    metrics={"best/aiq_margin": 0.03, "train/label": 1.5},
)


@pytest.fixture
def logged(tmp_path):
    """The folder of a run that finished, written by its log."""
    log = RunLog("p", "frozen", "g", ["a", "b"], str(tmp_path / "logged"), "f1")
    log.log_hyperparams({"gone": 1})
    log.log_hyperparams({"model": {"residual": 0, "optimizer": {"lr": 0.1}}, "folds": [0, 1], "gone": 2})
    log.log_metrics({"val/aiq_margin": 0.1, "val/ece": float("nan"), "train/label": 2}, 4)
    log.log_metrics({"val/aiq_margin": 0.2, "epoch": 1}, 9)
    log.finalize("success")
    return tmp_path / "logged"


def test_a_logged_run_is_read_back(logged):
    (run,) = read_folders([logged])
    (rows,) = logged.rglob("metrics.csv")
    assert len(rows.read_text().splitlines()) == 3
    assert (run.id, run.name, run.group, run.tags, run.state) == ("f1", "frozen", "g", ("a", "b"), "finished")
    assert run.config == {"gone": 2, "model.residual": 0, "model.optimizer.lr": 0.1, "folds": [0, 1]}
    assert run.metrics == {"epoch": 1, "train/label": 2, "trainer/global_step": 9, "val/aiq_margin": 0.2}  # no NaN
    assert time.time() - 60 < datetime.fromisoformat(run.started).timestamp() <= time.time()


def test_a_run_without_a_name_has_its_id_and_one_that_logged_nothing_is_not_there(tmp_path):
    RunLog(save_dir=str(tmp_path)).finalize("success")
    assert read_folders([tmp_path]) == []
    log = RunLog(save_dir=str(tmp_path))
    log.log_hyperparams({"folder": tmp_path})
    (run,) = read_folders([tmp_path])
    assert (run.name, run.state, run.config) == (run.id, "unfinished", {"folder": str(tmp_path)})


KILLED = """
import os, signal, sys
from train.runs.run_log import RunLog
log = RunLog("p", "killed", "g", ["a"], sys.argv[1], "k1")
log.log_hyperparams({"lr": 0.1})
log.log_metrics({"val/aiq_margin": 0.1}, 0)
log.log_metrics({"val/aiq_margin": 0.2, "train/label": 2}, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_is_unfinished_and_keeps_what_it_logged(tmp_path):
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)]).returncode == -signal.SIGKILL
    (run,) = read_folders([tmp_path])
    assert (run.name, run.group, run.tags, run.state, run.config) == ("killed", "g", ("a",), "unfinished", {"lr": 0.1})
    assert run.metrics == {"val/aiq_margin": 0.2, "train/label": 2, "trainer/global_step": 1}


def test_runs_of_which_only_wandbs_file_tells_are_found_once(logged, tmp_path):
    runs = read_folders([logged])
    for folder, identity in (("run-1-f1", "f1"), ("run-2-old", "old")):
        (logged / "wandb" / folder).mkdir(parents=True)
        (logged / "wandb" / folder / f"run-{identity}.wandb").touch()
    assert only_in_wandb([logged, tmp_path], runs) == [logged / "wandb" / "run-2-old" / "run-old.wandb"]


def test_an_exported_run_reads_back_equal_and_is_found_beside_its_original_once(logged, tmp_path):
    (run,) = read_folders([logged])
    (path,) = export_runs([run], tmp_path / "exported")
    assert path.name == "frozen.run.json"
    assert (
        read_folders([tmp_path])
        == [run]
        == read_folders([tmp_path / "exported", logged])
        == read_folders([tmp_path / "exported"])
    )


def test_runs_of_one_name_are_exported_under_their_ids_and_strange_names_become_file_names(tmp_path):
    runs = [LOGGED, replace(LOGGED, id="b2"), replace(LOGGED, id="b3", name="../lr=0.1 seed:0")]
    names = [path.name for path in export_runs(runs, tmp_path)]
    assert names == ["frozen-b1.run.json", "frozen-b2.run.json", ".._lr=0.1_seed_0.run.json"]
    assert sorted(run.id for run in read_folders([tmp_path])) == ["b1", "b2", "b3"]
    assert len(list(tmp_path.iterdir())) == 3  # no draft stays


def test_a_broken_export_is_named(tmp_path):
    (path,) = export_runs([LOGGED], tmp_path)
    values = json.loads(path.read_text())
    for text, message in (
        ("[]", "not an exported run"),
        ("{", "not an exported run"),
        (json.dumps(values | {"format_version": 9}), "format_version 9"),
        (json.dumps({k: v for k, v in values.items() if k != "tags"}), "this version reads 1 with .*tags"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=rf"frozen\.run\.json: .*{message}"):
            read_run(path)


def test_a_folder_that_is_not_there_is_an_error_that_says_what_it_should_hold(tmp_path):
    with pytest.raises(UsageError, match=r"no is no folder; give one of logged runs"):
        read_folders([tmp_path / "no"])


def test_without_wandb_runs_are_logged_and_read_and_those_online_say_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['wandb'] = None\n"
        "from pathlib import Path; from router.errors import UsageError; from train.runs.store import *\n"
        "from train.runs.run_log import RunLog\n"
        f"RunLog(name='frozen', save_dir={str(tmp_path)!r}).log_metrics({{'a': 1}})\n"
        f"print(read_folders([Path({str(tmp_path)!r})])[0].name)\n"
        "try: read_online('a/b')\n"
        "except UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name, error = done.stdout.splitlines()
    assert name == "frozen" and "wandb: pip install -e '.[train]'" in error


asked = []  # of the fake


class FakeApi:
    """Answers as wandb.Api: one run of the project team/p, whatever the filter."""

    def runs(self, path, filters=None, lazy=True):
        asked.append((path, filters, lazy))
        if path != "team/p":
            raise ValueError(f"Could not find project {path}")
        summary = {"best/aiq_margin": 0.03, "train/label": 1.5, "_step": 9, "plot": {"_type": "image-file", "width": 5}}
        config = {"model": {"residual": 0}, "data": {"pools": ["a.yaml"], "folder": None}, "_wandb": {}}
        yield SimpleNamespace(
            id="b1",
            name="frozen",
            group="routemix",
            tags=["frozen", "seed 0"],
            state="finished",
            created_at="2026-11-24T10:00:00Z",
            config=config,
            summary_metrics=summary,
        )


def test_an_online_run_is_read_as_a_local_one(monkeypatch):
    monkeypatch.setattr(wandb, "Api", FakeApi)
    assert read_online("team/p") == [LOGGED]
    assert read_online("team/p", "routemix") == [LOGGED]
    assert asked == [("team/p", None, False), ("team/p", {"group": "routemix"}, False)]


def test_an_unknown_project_or_a_missing_key_is_one_error(monkeypatch):
    monkeypatch.setattr(wandb, "Api", FakeApi)
    with pytest.raises(
        UsageError, match=r"does not list 'no' \(Could not find project no\); give ENTITY/PROJECT, log in"
    ):
        read_online("no")

    def refuse():
        raise wandb.errors.UsageError("No API key configured")

    monkeypatch.setattr(wandb, "Api", refuse)
    with pytest.raises(UsageError, match="No API key configured"):
        read_online("team/p")


@pytest.mark.network
def test_a_public_project_online_is_listed():
    assert all(run.id for run in read_online("wandb/examples"))
