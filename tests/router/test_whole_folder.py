"""A folder takes its place whole, and what was there stays wherever that fails."""

from pathlib import Path

import pytest

from router.errors import UsageError
from router.whole_folder import whole_folder
from train.data_folders.data_folder import whole_data_folder


def names(folder):
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*"))


@pytest.fixture
def target(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").touch()
    return tmp_path / "data"


def test_what_was_there_is_replaced_when_the_new_one_is_whole(target):
    with whole_folder(target) as fresh:
        (fresh / "new").touch()
        assert names(target) == ["old"]
    assert names(target.parent) == ["data", "data/new"]


def test_a_new_folder_gets_its_parents(tmp_path):
    with whole_folder(tmp_path / "a" / "b") as fresh:
        (fresh / "new").touch()
    assert names(tmp_path) == ["a", "a/b", "a/b/new"]


def test_an_error_while_it_is_filled_leaves_what_was_there_and_nothing_else(target):
    with pytest.raises(KeyError), whole_folder(target) as fresh:
        (fresh / "new").touch()
        raise KeyError
    assert names(target.parent) == ["data", "data/old"]


def test_what_was_there_comes_back_where_the_new_one_cannot_take_its_place(target, monkeypatch):
    rename = Path.rename

    def refuse(self, to):
        if self.suffix == ".partial":
            raise OSError("busy")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UsageError, match=r"cannot write .*data: busy; name a folder"), whole_data_folder(target):
        pass
    assert names(target.parent) == ["data", "data/old"]
