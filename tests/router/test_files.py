"""Files and folders that appear as a whole, and files that only their owner reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from router.errors import UsageError
from router.files import atomic_folder, atomic_text, atomic_write, local_secret, private_write
from train.data_folders.data_folder import whole_data_folder


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    atomic_write(tmp_path / "a", b"old")
    atomic_write(tmp_path / "a", b"new")
    with atomic_text(tmp_path / "b") as lines:
        lines.write("é\n")
        assert not (tmp_path / "b").exists()
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"a": b"new", "b": "é\n".encode()}


@pytest.mark.parametrize("error", [OSError("no space left on device"), KeyboardInterrupt()])
def test_what_stops_it_leaves_the_old_file_alone(tmp_path, monkeypatch, error):
    atomic_write(tmp_path / "a", b"old")

    def stop(*paths):
        raise error

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(type(error)):
        atomic_write(tmp_path / "a", b"new")
    with pytest.raises(type(error)), atomic_text(tmp_path / "a") as lines:
        lines.write("new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a", b"old")]


def test_a_file_without_a_line_is_not_kept_where_that_is_asked_for(tmp_path):
    atomic_write(tmp_path / "a", b"old")
    with atomic_text(tmp_path / "a", keep_empty=False):
        pass
    assert not list(tmp_path.iterdir())


def names(folder):
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*"))


@pytest.fixture
def target(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").touch()
    return tmp_path / "data"


def test_what_was_there_is_replaced_when_the_new_one_is_whole(target):
    with atomic_folder(target) as fresh:
        (fresh / "new").touch()
        assert names(target) == ["old"]
    assert names(target.parent) == ["data", "data/new"]


def test_a_new_folder_gets_its_parents(tmp_path):
    with atomic_folder(tmp_path / "a" / "b") as fresh:
        (fresh / "new").touch()
    assert names(tmp_path) == ["a", "a/b", "a/b/new"]


def test_an_error_while_it_is_filled_leaves_what_was_there_and_nothing_else(target):
    with pytest.raises(KeyError), atomic_folder(target) as fresh:
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


def test_a_private_file_is_whole_and_its_owners_alone_whatever_lay_there(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(b"old")
    file.chmod(0o644)
    private_write(file, b"new")
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["keys.json"]


def test_a_secret_is_made_once_and_read_again(tmp_path: Path) -> None:
    first = local_secret(tmp_path / "log.key")
    assert len(first) == 32
    assert local_secret(tmp_path / "log.key") == first
    assert local_secret(tmp_path / "other.key") != first
    assert (tmp_path / "log.key").stat().st_mode & 0o777 == 0o600


def test_processes_that_start_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    code = f"from router.files import *; print(local_secret(Path({str(tmp_path / 'key')!r})).hex())"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(4)]
    assert len({process.communicate(timeout=30)[0] for process in processes}) == 1
    assert [process.returncode for process in processes] == [0] * 4


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602])
def test_a_secret_that_the_group_or_all_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "log.key"
    local_secret(file)
    file.chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        local_secret(file)


def test_a_secret_that_others_may_read_or_that_is_none_is_refused_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "log.key"
    local_secret(file)
    file.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        local_secret(file)
    private_write(file, b"abcd")
    with pytest.raises(UsageError, match="64 hexadecimal digits") as caught:
        local_secret(file)
    assert "abcd" not in str(caught.value)
