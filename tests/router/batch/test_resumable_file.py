"""An output that appears whole or not at all, and is continued only where it belongs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.batch import resumable_file
from router.batch.resumable_file import ResumableFile, check_output, partial_of
from router.errors import UsageError

SETTINGS = {"input_sha256": "ab", "dial": 3.0, "allow": []}


def record(number: int, **more: object) -> bytes:
    return json.dumps({"line": number, **more}).encode() + b"\n"


def interrupted(path: Path, count: int = 3) -> bytes:
    """What a run leaves that was stopped after `count` records, the second an error."""
    with pytest.raises(KeyboardInterrupt), ResumableFile(path, SETTINGS) as file:
        for number in range(1, count + 1):
            more = {"error": {}} if number == 2 else {}
            file.write(record(number, **more), failed=bool(more))
        raise KeyboardInterrupt
    return partial_of(path).read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def test_the_file_appears_at_the_end_and_nothing_else_stays(path: Path) -> None:
    with ResumableFile(path, SETTINGS) as file:
        file.write(record(1), failed=False)
        file.flush()
        assert names(path) == ["out.jsonl.partial", "out.jsonl.partial.json"]
        assert partial_of(path).read_bytes() == record(1)
    assert names(path) == ["out.jsonl"]
    assert path.read_bytes() == record(1)


def test_after_an_exception_the_partial_keeps_every_record_and_the_file_is_not_there(path: Path) -> None:
    assert interrupted(path) == record(1) + record(2, error={}) + record(3)
    assert names(path) == ["out.jsonl.partial", "out.jsonl.partial.json"]


def test_a_resumed_file_counts_and_keeps_what_was_there(path: Path) -> None:
    before = interrupted(path)
    with ResumableFile(path, SETTINGS, resume=True) as file:
        assert (file.done, file.failed) == (3, 1)
        file.write(record(4), failed=False)
    assert path.read_bytes() == before + record(4)


@pytest.mark.parametrize(("multiple_of", "done", "failed"), [(1, 3, 1), (2, 2, 1), (3, 3, 1), (4, 0, 0)])
def test_records_that_belong_together_are_kept_together(path: Path, multiple_of: int, done: int, failed: int) -> None:
    before = interrupted(path)
    with ResumableFile(path, SETTINGS, resume=True, multiple_of=multiple_of) as file:
        assert (file.done, file.failed) == (done, failed)
    assert path.read_bytes() == b"".join(before.splitlines(keepends=True)[:done])


def test_a_partial_cut_anywhere_keeps_its_whole_records_only(path: Path) -> None:
    whole = interrupted(path)
    for cut in range(1, len(whole) + 1):
        partial_of(path).write_bytes(whole[:cut])
        with pytest.raises(KeyboardInterrupt), ResumableFile(path, SETTINGS, resume=True) as file:
            kept = whole[:cut].count(b"\n")
            assert (file.done, file.failed) == (kept, int(kept >= 2))
            assert partial_of(path).read_bytes() == b"".join(whole.splitlines(keepends=True)[:kept])
            raise KeyboardInterrupt


@pytest.mark.parametrize("junk", [b"\0\0\0\0\n", b"[1]\n", record(9), b'{"line": 4', b"[" * 100_000 + b"\n"])
def test_whatever_is_no_record_in_its_turn_ends_what_is_kept(path: Path, junk: bytes) -> None:
    whole = interrupted(path)
    partial_of(path).write_bytes(whole + junk + record(4))
    with ResumableFile(path, SETTINGS, resume=True) as file:
        assert file.done == 3
    assert path.read_bytes() == whole


def test_without_a_partial_resuming_starts_from_nothing(path: Path) -> None:
    with ResumableFile(path, SETTINGS, resume=True) as file:
        assert file.done == 0


def test_a_partial_is_not_discarded_unasked(path: Path) -> None:
    whole = interrupted(path)
    with pytest.raises(
        UsageError, match=r"out\.jsonl\.partial exists.*--resume to continue it, or --force to start over"
    ):
        ResumableFile(path, SETTINGS)
    assert partial_of(path).read_bytes() == whole


def test_force_discards_the_partial_and_with_resume_keeps_it(path: Path) -> None:
    interrupted(path)
    path.write_bytes(b"old")
    with ResumableFile(path, SETTINGS, resume=True, force=True) as file:
        assert file.done == 3
    assert path.read_bytes().count(b"\n") == 3
    interrupted(Path(f"{path}2"))
    with ResumableFile(Path(f"{path}2"), SETTINGS, force=True) as file:
        assert file.done == 0


def test_an_existing_file_is_replaced_on_request_only(path: Path) -> None:
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match="exists already; give --force"):
        check_output(path, resume=False, force=False)
    with ResumableFile(path, SETTINGS, force=True) as file:
        file.write(record(1), failed=False)
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == record(1)


def test_a_file_that_appears_meanwhile_is_not_replaced_either(path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"), ResumableFile(path, SETTINGS) as file:
        file.write(record(1), failed=False)
        path.write_bytes(b"of somebody else")
    assert path.read_bytes() == b"of somebody else"
    assert partial_of(path).read_bytes() == record(1)


def test_another_input_or_other_settings_are_refused_by_name(path: Path) -> None:
    whole = interrupted(path)
    other = {"input_sha256": "ab", "dial": 5.0, "allow": ["big*"]}
    with pytest.raises(UsageError, match=r'dial was 3\.0, now 5\.0; allow was \[\], now \["big\*"\]\. Repeat that run'):
        ResumableFile(path, other, resume=True)
    assert partial_of(path).read_bytes() == whole


@pytest.mark.parametrize("about", [None, b"", b"[]", b"\xff"])
def test_a_partial_of_which_nothing_is_known_is_refused(path: Path, about: bytes | None) -> None:
    interrupted(path)
    beside = path.with_name("out.jsonl.partial.json")
    beside.unlink()
    if about is not None:
        beside.write_bytes(about)
    with pytest.raises(UsageError, match=r"cannot resume .*partial\.json.* cannot be read .*--force instead"):
        ResumableFile(path, SETTINGS, resume=True)


def test_an_empty_partial_is_nothing_to_lose(path: Path) -> None:
    partial_of(path).touch()
    with ResumableFile(path, SETTINGS) as file:
        assert file.done == 0


def test_two_runs_cannot_write_the_same_file(path: Path) -> None:
    with ResumableFile(path, SETTINGS) as file:
        file.write(record(1), failed=False)
        file.flush()
        for how in ({"resume": True}, {"force": True}):
            with pytest.raises(UsageError, match="is being written by another run"):
                ResumableFile(path, SETTINGS, **how)
    assert path.read_bytes() == record(1)


def test_an_output_that_cannot_be_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it is a folder"):
        check_output(tmp_path, resume=False, force=True)
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere"):
        check_output(tmp_path / "nowhere" / "out", resume=False, force=False)


def test_a_folder_without_the_right_to_write_is_refused_before_anything_is_done(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        resumable_file.os, "access", lambda *_: False
    )  # root, who may run the tests, may write anywhere
    with pytest.raises(UsageError, match=r"you may not write in the folder .*; name a file in a folder that you may"):
        check_output(path, resume=False, force=False)


def test_a_file_that_the_system_refuses_says_what_to_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError, match=r"cannot write --output .*: Read-only file system; name a file in a folder"):
        ResumableFile(path, SETTINGS)
