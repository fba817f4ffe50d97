"""What our training sees of a data folder, where it writes, and what becomes of its mistakes."""

import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from router.encoding.torch_encoder import QueryEncoder
from router.errors import UsageError
from router.evaluation.dataset import read_dataset
from train.compare.ours import CachedEncoder, fit, moved, read_config, usable_pools, write_view
from train.compare.regimes import Rows
from train.data_folders.synthetic.command import write_planted


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours") / "data"
    write_planted(folder, 60)
    return read_dataset(folder)


@pytest.fixture
def rows(dataset):
    place = np.arange(len(dataset.queries)) % 4
    return Rows(place == 0, place == 1, place == 2, place == 0)


def test_a_view_holds_nothing_of_rows_that_may_not_be_seen_but_their_text(dataset, rows, tmp_path):
    write_view(dataset, rows, tmp_path)
    view = read_dataset(tmp_path)
    assert view.queries["text"].tolist() == dataset.queries["text"].tolist()  # the same cache of embeddings
    seen = rows.train | rows.val
    fold = view.queries["fold"].to_numpy()
    assert np.array_equal(fold == 0, rows.train) and np.array_equal(fold == 7, rows.val)
    assert np.isnan(view.score[~seen]).all() and np.array_equal(view.score[seen], dataset.score[seen])
    hidden = set(dataset.queries["query_id"][~seen])
    assert hidden and not hidden & {note.query_id for note in view.annotations}
    assert len(view.annotations) == sum(note.query_id not in hidden for note in dataset.annotations)
    assert not hidden & set(pd.read_parquet(tmp_path / "outcomes.parquet")["query_id"])


def test_a_view_of_several_folders_holds_what_all_hold(dataset, tmp_path):
    other, view = tmp_path / "other", tmp_path / "view"
    write_planted(other, 30, seed=1)
    table = pd.read_parquet(other / "queries.parquet")
    table["query_id"] = "other/" + table["query_id"]
    table.drop(columns=["group", "ood_twin"]).to_parquet(other / "queries.parquet")
    cells = pd.read_parquet(other / "outcomes.parquet")
    cells["query_id"], cells["cost_usd"] = "other/" + cells["query_id"], 0.25
    cells.drop(columns=["protocol", "output_chars_basis"]).to_parquet(other / "outcomes.parquet")
    (other / "annotations.jsonl").unlink()
    both = read_dataset(f"{dataset.folder}{os.pathsep}{other}")
    everything = np.ones(90, bool)
    view.mkdir()
    write_view(both, Rows(everything, ~everything, ~everything, everything), view, without=["planted-coder"])
    seen = read_dataset(view)
    kept = [column for column, system in enumerate(both.systems) if system.model != "planted-coder"]
    assert seen.systems == tuple(both.systems[column] for column in kept) and len(kept) == 18
    for name in ("score", "output_tokens", "cost_usd", "measured"):
        assert np.array_equal(getattr(seen, name), getattr(both, name)[:, kept], equal_nan=name != "measured")
    assert seen.annotations == dataset.annotations and seen.models == both.models


def test_a_moved_configuration_writes_under_its_folder_alone(tmp_path):
    raw = {
        "model": {}, "data": {}, "export": {"folder": "runs/x/router", "name": "x"},
        "trainer": {"default_root_dir": "runs/x", "logger": {"class_path": "W"}, "callbacks": [
            {"class_path": "ModelCheckpoint", "init_args": {"dirpath": "runs/x/checkpoints", "filename": "last"}},
            {"class_path": "EarlyStopping", "init_args": {"patience": 3}},
            {"class_path": "Timer"},
        ]},
    }  # fmt: skip
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(raw))
    run = tmp_path / "run"
    found = yaml.safe_load(moved(tmp_path / "x.yaml", run).read_text())
    assert "runs/x" not in json.dumps(found)
    assert found["export"] == {"folder": str(run / "router"), "name": "x"}
    assert found["trainer"]["callbacks"][0]["init_args"] == {"dirpath": str(run / "checkpoints"), "filename": "last"}
    assert found["trainer"]["logger"] is False


def test_a_pool_without_a_training_row_is_not_trained_with(dataset, rows):
    file = str(dataset.folders[0] / "pool.yaml")
    assert usable_pools([file], dataset, rows) == [file]
    with pytest.raises(UsageError, match=r"none of .*pool\.yaml has a training row with a score of every member"):
        usable_pools([file], dataset, replace(rows, train=np.zeros_like(rows.train)))


@pytest.mark.parametrize("text", ["- a list", "model: {}", "model: ["])
def test_what_is_no_training_configuration_is_refused(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"x\.yaml is no training configuration"):
        read_config(tmp_path / "x.yaml")


def test_a_cached_encoder_gives_the_embeddings_of_its_own(tiny_encoder, tmp_path):
    encoder, texts = QueryEncoder.from_pretrained(tiny_encoder), ["prove that", "write code", "who is the root"]
    cached = CachedEncoder(encoder, texts, tmp_path)
    assert np.allclose(cached.encode(texts[:0:-1]), encoder.encode(texts[:0:-1]), atol=1e-6)


def test_a_fit_is_kept_under_its_key_and_made_anew_under_another(dataset, rows, tmp_path, monkeypatch):
    config, run, made = tmp_path / "x.yaml", tmp_path / "run", []
    config.write_text("{model: {}, data: {}, trainer: {}}")

    def train(arguments, folder):
        made.append(arguments)
        (folder / "router").mkdir()
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "last.ckpt").touch()

    monkeypatch.setattr("train.compare.ours._train", train)
    arguments = (str(config), 3, dataset, rows, run)
    assert fit(*arguments, "a", "cache") == run / "router"
    fit(*arguments, "a", "cache")
    assert len(made) == 1 and made[0][made[0].index("--seed_everything") + 1] == "3"
    assert "--ckpt_path" not in made[0]
    (run / "router").rmdir()  # as if killed before the export
    (run / "checkpoints" / "last.ckpt").unlink()
    (run / "checkpoints").rmdir()
    fit(*arguments, "a", "cache")
    fit(*arguments, "b", "cache")
    assert len(made) == 3 and "--ckpt_path" not in made[2]
    assert (run / "key").read_text() == "b"
    assert not list(run.glob("data-*"))


def test_a_killed_fit_goes_on_from_its_last_checkpoint(dataset, rows, tmp_path, monkeypatch):
    config, run, made = tmp_path / "x.yaml", tmp_path / "run", []
    config.write_text("{model: {}, data: {}, trainer: {}}")

    def train(arguments, folder):
        made.append(arguments)
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints" / "last.ckpt").touch()
        if len(made) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("train.compare.ours._train", train)
    with pytest.raises(KeyboardInterrupt):
        fit(str(config), 0, dataset, rows, run, "a", "cache")
    fit(str(config), 0, dataset, rows, run, "a", "cache")
    assert made[1][-2:] == ["--ckpt_path", "last"]
