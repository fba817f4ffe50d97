"""Cells on disk: whole or not there, and trusted only under the key they were made with."""

import numpy as np
import pytest

from train.compare.predictions import Cell, CellPredictions, digest_of, is_finished, key_of, read_cell, write_cell

CELL = Cell("few-rows-0.1", "3", "small9", "knn", 4)


@pytest.fixture
def predictions():
    generator = np.random.default_rng(0)
    return CellPredictions(
        np.arange(5), generator.random((5, 3)), generator.random((5, 3)),
        np.arange(5, 7), generator.random((2, 3)), generator.random((2, 3)),
    )  # fmt: skip


def test_a_cell_comes_back_to_the_bit_and_leaves_nothing_else(tmp_path, predictions):
    file = CELL.file(tmp_path)
    write_cell(file, "key", predictions)
    assert file == tmp_path / "predictions" / "few-rows-0.1" / "3" / "small9" / "knn-4.npz"
    found = read_cell(file)
    assert all(np.array_equal(vars(found)[name], vars(predictions)[name]) for name in vars(predictions))
    assert [each.name for each in file.parent.iterdir()] == ["knn-4.npz"]


def test_a_cell_is_finished_under_its_key_alone(tmp_path, predictions):
    file = CELL.file(tmp_path)
    assert not is_finished(file, "key")
    write_cell(file, "key", predictions)
    assert is_finished(file, "key") and not is_finished(file, "another")
    file.write_bytes(file.read_bytes()[:100])
    assert not is_finished(file, "key")


def test_a_write_that_fails_keeps_the_old_cell(tmp_path, predictions, monkeypatch):
    file = CELL.file(tmp_path)
    write_cell(file, "old", predictions)
    monkeypatch.setattr(np, "savez", lambda *args, **arrays: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_cell(file, "new", predictions)
    assert is_finished(file, "old")


def test_a_key_tells_masks_and_settings_apart():
    rows = np.array([True, False])
    assert key_of({"rows": rows, "seed": 0}) == key_of({"seed": 0, "rows": rows.copy()})
    assert len({key_of({"rows": rows, "seed": s}) for s in (0, 1)} | {key_of({"rows": ~rows, "seed": 0})}) == 3


def test_a_digest_sees_every_byte_of_files_and_folders(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    before = digest_of(tmp_path / "a", tmp_path / "missing")
    assert before == digest_of(tmp_path / "a", tmp_path / "missing")
    (tmp_path / "a" / "x").write_text("2")
    assert digest_of(tmp_path / "a", tmp_path / "missing") != before
