"""Saving and loading a checkpoint on a disk with other, altered, missing and unwritable files."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.tiny_checkpoint import edit

from router.checkpoint import layout as checkpoint_folder
from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.storage import load_checkpoint, save_checkpoint
from router.errors import CheckpointError

# Replacing a folder


def test_a_checkpoint_is_replaced_as_a_whole(tiny_checkpoint: Checkpoint, tiny_router: Path) -> None:
    (tiny_router / "stale.png").touch()
    save_checkpoint(replace(tiny_checkpoint, default_pool="odd"), tiny_router)
    assert load_checkpoint(tiny_router).default_pool == "odd"
    assert not (tiny_router / "stale.png").exists()
    assert list(tiny_router.parent.iterdir()) == [tiny_router]


def test_an_empty_folder_and_a_new_path_are_filled(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "a" / "b"):
        save_checkpoint(tiny_checkpoint, place)
        assert load_checkpoint(place).default_pool == "both"


def test_a_save_that_fails_leaves_the_old_checkpoint_and_no_litter(
    tiny_checkpoint: Checkpoint, tiny_router: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (tiny_router / "config.json").read_bytes()
    monkeypatch.setattr(checkpoint_folder, "_sha256", lambda file: (_ for _ in ()).throw(OSError("disk is full")))
    with pytest.raises(CheckpointError, match=r"cannot write the checkpoint .*router: disk is full"):
        save_checkpoint(replace(tiny_checkpoint, default_pool="odd"), tiny_router)
    assert list(tiny_router.parent.iterdir()) == [tiny_router]
    assert (tiny_router / "config.json").read_bytes() == before


def test_an_old_checkpoint_returns_when_the_new_one_cannot_take_its_place(
    tiny_checkpoint: Checkpoint, tiny_router: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse_partial(self: Path, target: Path) -> Path:
        if self.suffix == ".partial":
            raise OSError("busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_partial)
    with pytest.raises(CheckpointError, match="busy"):
        save_checkpoint(replace(tiny_checkpoint, default_pool="odd"), tiny_router)
    assert load_checkpoint(tiny_router).default_pool == "both"
    assert list(tiny_router.parent.iterdir()) == [tiny_router]


@pytest.mark.parametrize("config", [None, "{}", "not JSON", '["format_version"]'])
def test_a_folder_of_anything_else_is_never_replaced(
    tiny_checkpoint: Checkpoint, tmp_path: Path, config: str | None
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(
        CheckpointError, match=r"refusing to replace .*choose another folder .*thesis\.tex \(13 bytes\)"
    ):
        save_checkpoint(tiny_checkpoint, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_is_never_replaced(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    with pytest.raises(CheckpointError, match="is a file: choose another place"):
        save_checkpoint(tiny_checkpoint, tmp_path / "file")


# Checksums


def verified_names() -> list[str]:
    encoder = ("config", "modules", "tokenizer", "tokenizer_config", "special_tokens_map", "sentence_bert_config")
    return [
        "heads.safetensors",
        "taxonomy.json",
        "encoder/model.safetensors",
        *(f"encoder/{name}.json" for name in encoder),
    ]


@pytest.mark.parametrize("name", verified_names())
def test_an_altered_file_is_named(tiny_router: Path, name: str) -> None:
    content = bytearray((tiny_router / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tiny_router / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} was altered or cut short .*found: README\.md \(\d+ bytes\)"):
        load_checkpoint(tiny_router)


@pytest.mark.parametrize("name", verified_names())
@pytest.mark.parametrize("kept", [0, 10, -1])
def test_a_truncated_file_is_named(tiny_router: Path, name: str, kept: int) -> None:
    content = (tiny_router / name).read_bytes()[:kept]
    (tiny_router / name).write_bytes(content)
    with pytest.raises(
        CheckpointError, match=rf"{name} was altered or cut short \({len(content):,} bytes; sha256 [0-9a-f]+"
    ):
        load_checkpoint(tiny_router)


@pytest.mark.parametrize("name", [*verified_names(), "profiles.json"])
def test_a_renamed_file_is_missing_under_its_name_and_listed_under_the_other(tiny_router: Path, name: str) -> None:
    (tiny_router / name).rename(tiny_router / f"{name}.bak")
    with pytest.raises(CheckpointError, match=rf"{name} is missing\. Get a fresh copy; found: .*{name}\.bak \("):
        load_checkpoint(tiny_router)


def test_all_bad_files_are_named_at_once(tiny_router: Path) -> None:
    (tiny_router / "taxonomy.json").unlink()
    (tiny_router / "heads.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"heads\.safetensors was altered .*; taxonomy\.json is missing"):
        load_checkpoint(tiny_router)


def test_checksums_that_leave_a_file_out_are_refused(tiny_router: Path) -> None:
    edit(tiny_router / "config.json", lambda raw: raw["sha256"].pop("encoder/tokenizer.json"))
    with pytest.raises(
        CheckpointError, match=r"config\.json is broken: sha256 must name at least .*encoder/tokenizer\.json"
    ):
        load_checkpoint(tiny_router)


# Finding and reading


@pytest.mark.parametrize("version", [0, 1, 7, "2", None])
def test_an_unknown_format_version_is_refused(tiny_router: Path, version: object) -> None:
    edit(tiny_router / "config.json", lambda raw: raw.update(format_version=version))
    with pytest.raises(
        CheckpointError, match=rf"has format_version {version!r}; this installation reads 6: install the"
    ):
        load_checkpoint(tiny_router)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[]", b"{}"])
def test_a_config_that_is_no_config_is_refused(tiny_router: Path, content: bytes) -> None:
    (tiny_router / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json (cannot be read as JSON|has no format_version)"):
        load_checkpoint(tiny_router)


HOW = r"--checkpoint or ROUTER_CHECKPOINT, or train one with `python -m train fit --config configs/demo\.yaml`"


@pytest.mark.parametrize("name", ["no-such-folder", "./none", "/none/there", "a/b/c", "tests/none"])
def test_a_path_that_does_not_exist_says_how_to_get_a_checkpoint(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=rf"there is no checkpoint folder '{name}'.*: .*{HOW}"):
        load_checkpoint(name)


def test_a_file_in_place_of_a_folder_says_so(tiny_router: Path) -> None:
    with pytest.raises(CheckpointError, match=f"config.json is a file, but a checkpoint is a folder: .*{HOW}"):
        load_checkpoint(tiny_router / "config.json")


def test_a_folder_without_config_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no router checkpoint: it has no config\.json; found: nothing"):
        load_checkpoint(tmp_path)


def test_a_folder_that_is_no_checkpoint_is_not_walked(tmp_path: Path) -> None:
    (tmp_path / "photos" / "2026").mkdir(parents=True)
    (tmp_path / "photos" / "2026" / "one.jpg").touch()
    (tmp_path / "note.txt").touch()
    looked: list[str] = []
    watching = [True]

    def watch(event: str, arguments: tuple[object, ...]) -> None:  # no hook can be taken off again
        if watching and event in ("os.scandir", "os.listdir"):
            looked.append(str(arguments[0]))

    sys.addaudithook(watch)
    try:
        with pytest.raises(CheckpointError, match=r"found: note\.txt \(0 bytes\)$"):
            load_checkpoint(tmp_path)
    finally:
        watching.clear()
    assert set(looked) <= {str(tmp_path), str(tmp_path / "encoder")}
