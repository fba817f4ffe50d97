"""Files that only their owner reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from router.errors import UsageError
from router.private_file import local_secret, write_private


def test_a_private_file_is_whole_and_its_owners_alone_whatever_lay_there(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(b"old")
    file.chmod(0o644)
    (tmp_path / "keys.json.new").write_bytes(b"left by a kill")
    (tmp_path / "keys.json.new").chmod(0o666)
    write_private(file, b"new")
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
    code = f"from router.private_file import *; print(local_secret(Path({str(tmp_path / 'key')!r})).hex())"
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
    write_private(file, b"abcd")
    with pytest.raises(UsageError, match="64 hexadecimal digits") as caught:
        local_secret(file)
    assert "abcd" not in str(caught.value)
