"""Runs are read alike from W&B's offline files, from its server (a fake one) and from exported JSON."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace

import pytest
import wandb
from fixtures.wandb_runs import wait_until_written

from router.errors import DataError, UsageError
from train.runs.store import Run, export_runs, read_export, read_folders, read_log, read_online

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


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A folder with an offline run that finished, written by wandb itself."""
    folder = tmp_path_factory.mktemp("offline")
    run = wandb.init(
        project="test", name="frozen", group="g", tags=["a", "b"], dir=str(folder), mode="offline", config={"gone": 1}
    )
    run.config.update(
        {"model": {"residual": 0, "optimizer": {"lr": 0.1}}, "folds": [0, 1], "gone": 2}, allow_val_change=True
    )
    run.log({"val/aiq_margin": 0.1, "val/ece": float("nan"), "train/label": 2})
    run.log({"val/aiq_margin": 0.2, "table": wandb.Table(columns=["pool"], data=[["a"]])})
    run.finish()
    wait_until_written(folder)
    return folder, run.id


def test_an_offline_run_of_wandb_is_read_back_and_takes_no_network_to_write(offline):
    folder, identity = offline
    (run,) = read_folders([folder])
    assert (run.id, run.name, run.group, run.tags, run.state) == (identity, "frozen", "g", ("a", "b"), "finished")
    assert run.config == {"gone": 2, "model.residual": 0, "model.optimizer.lr": 0.1, "folds": [0, 1]}
    assert run.metrics == {"train/label": 2.0, "val/aiq_margin": 0.2}  # no table, no NaN, nothing of W&B's own
    assert datetime.fromisoformat(run.started).timestamp() <= time.time()


def test_a_killed_run_is_unfinished_and_keeps_what_it_logged(offline, tmp_path):
    (file,) = {path.resolve() for path in offline[0].rglob("run-*.wandb")}
    content = file.read_bytes()
    torn = tmp_path / file.name
    torn.write_bytes(content[: len(content) - 20])  # the exit record is the last
    run = read_log(torn)
    assert run.state == "unfinished" and run.metrics["val/aiq_margin"] == 0.2
    torn.write_bytes(content[:60])  # before the record that says what run it is
    assert read_log(torn) is None
    assert read_folders([tmp_path]) == []


def test_an_exported_run_reads_back_equal_and_is_found_beside_its_original_once(offline, tmp_path):
    (run,) = read_folders([offline[0]])
    (path,) = export_runs([run], tmp_path / "exported")
    assert path.name == "frozen.run.json"
    assert read_folders([tmp_path]) == [run] == read_folders([tmp_path, offline[0]])


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
            read_export(path)


def test_a_folder_that_is_not_there_is_an_error_that_says_what_it_should_hold(tmp_path):
    with pytest.raises(UsageError, match=r"no is no folder; give one of W&B runs"):
        read_folders([tmp_path / "no"])


def test_without_wandb_exported_runs_still_read_and_the_others_say_what_to_install(offline, tmp_path):
    export_runs([LOGGED], tmp_path)
    code = (
        "import sys; sys.modules['wandb'] = None\n"
        "from pathlib import Path; from router.errors import UsageError; from train.runs.store import *\n"
        f"print(read_folders([Path({str(tmp_path)!r})])[0].name)\n"
        f"for call in (lambda: read_folders([Path({str(offline[0])!r})]), lambda: read_online('a/b')):\n"
        "    try: call()\n"
        "    except UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name, *errors = done.stdout.splitlines()
    assert name == "frozen" and len(errors) == 2
    assert all("wandb: pip install -e '.[train]'" in error for error in errors)


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
