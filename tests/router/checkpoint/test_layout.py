"""Checksums, reading and replacing of a checkpoint's folder, on files of any content: no network is needed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from router.checkpoint import layout as checkpoint_folder
from router.checkpoint.layout import (
    LAYOUT,
    Layout,
    add_checksum,
    checksums,
    config_text,
    find_folder,
    list_files,
    read_config,
    recorded_checksum,
    replacing,
    verify,
)
from router.errors import CheckpointError

VERIFIED = (
    "encoder/1_Pooling/config.json",
    "encoder/config.json",
    "encoder/model.safetensors",
    "encoder/tokenizer.json",
    "heads.onnx",
    "heads.safetensors",
    "taxonomy.json",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "router"
    for name in (*VERIFIED, "profiles.json", "README.md", "dials.json"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"content of {name}")
    (made / "config.json").write_text(json.dumps({"format_version": 6, "sha256": checksums(made)}))
    return made


def refusal(folder: Path, recorded: object = None) -> str:
    with pytest.raises(CheckpointError) as error:
        verify(folder, json.loads((folder / "config.json").read_text())["sha256"] if recorded is None else recorded)
    return str(error.value)


def test_heads_taxonomy_and_all_of_the_encoder_have_checksums_and_nothing_that_may_be_edited(
    folder: Path,
) -> None:
    recorded = checksums(folder)
    assert tuple(recorded) == VERIFIED
    assert recorded["taxonomy.json"] == hashlib.sha256(b"content of taxonomy.json").hexdigest()
    verify(folder, recorded)
    for name in ("README.md", "dials.json", "profiles.json"):
        (folder / name).write_text("edited")
    verify(folder, recorded)


def test_a_file_with_a_checksum_besides_those_of_every_checkpoint_is_verified_too(folder: Path) -> None:
    (folder / "encoder/1_Pooling/config.json").write_text("")
    assert "encoder/1_Pooling/config.json was altered or cut short (0 bytes" in refusal(folder)


def test_an_index_gets_a_checksum_may_be_missing_and_is_verified_by_its_reader(folder: Path) -> None:
    file = folder / "index" / "pool.faiss"
    file.parent.mkdir()
    file.write_text("index")
    assert recorded_checksum(folder, file) is None
    add_checksum(folder, file)
    assert recorded_checksum(folder, file) == hashlib.sha256(b"index").hexdigest()
    recorded = read_config(folder)["sha256"]
    assert recorded == checksums(folder) | {"index/pool.faiss": recorded_checksum(folder, file)}
    file.unlink()
    verify(folder, recorded)


def test_a_checksum_that_cannot_be_written_is_an_error_of_the_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, content: bytes) -> None:
        raise OSError("disk is full")

    monkeypatch.setattr(checkpoint_folder, "atomic_write", refuse)
    with pytest.raises(CheckpointError, match=r"cannot write .*config\.json: disk is full"):
        add_checksum(folder, folder / "README.md")


def test_a_config_is_written_for_people_and_holds_no_number_that_json_does_not_know() -> None:
    assert config_text({"a": "é", "b": [1]}) == '{\n "a": "é",\n "b": [\n  1\n ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        config_text({"a": float("nan")})


def test_the_list_of_what_is_there_stays_near_the_top(folder: Path) -> None:
    for name in ("deep/er/file", "deep/file", "encoder/1_Pooling/deep/file"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "taxonomy.json").unlink()
    found = refusal(folder).partition("found: ")[2]
    assert "encoder/1_Pooling/config.json (" in found and "encoder/tokenizer.json (" in found
    assert "deep" not in found


@pytest.mark.parametrize("recorded", [[], 0, "heads.safetensors", list(VERIFIED), {}], ids=repr)
def test_checksums_that_are_no_mapping_of_all_files_are_refused(folder: Path, recorded: object) -> None:
    assert refusal(folder, recorded) == (
        f"{folder / 'config.json'} is broken: sha256 must name at least ['encoder/config.json', "
        "'encoder/model.safetensors', 'encoder/tokenizer.json', 'heads.onnx', 'heads.safetensors', 'taxonomy.json']"
    )


def test_checksums_of_just_the_files_of_every_checkpoint_will_do(folder: Path) -> None:
    few = {name: digest for name, digest in checksums(folder).items() if name in LAYOUT.always_verified}
    assert set(few) == set(LAYOUT.always_verified)
    verify(folder, few)  # raises nothing


def test_packed_weights_may_stand_for_the_weights(folder: Path) -> None:
    (folder / "encoder/model.safetensors").rename(folder / "encoder/model-packed.safetensors")
    verify(folder, checksums(folder))  # raises nothing
    assert "encoder/model.safetensors is missing" in refusal(folder)


@pytest.mark.parametrize("name", sorted(LAYOUT.always_verified))
def test_checksums_without_one_file_of_every_checkpoint_are_refused(folder: Path, name: str) -> None:
    recorded = checksums(folder)
    del recorded[name]
    assert "is broken: sha256 must name at least" in refusal(folder, recorded)


def test_the_message_names_each_bad_file_with_both_checksums_and_lists_what_is_there(folder: Path) -> None:
    written = checksums(folder)["taxonomy.json"]
    (folder / "taxonomy.json").write_bytes(b"x" * 1234)
    (folder / "heads.safetensors").unlink()
    (folder / "profiles.json").unlink()
    got = hashlib.sha256(b"x" * 1234).hexdigest()
    assert refusal(folder).startswith(
        f"{folder}: heads.safetensors is missing; taxonomy.json was altered or cut short (1,234 bytes; sha256 "
        f"{got[:12]}…, written as {written[:12]}…); profiles.json is missing. Get a fresh copy; found: README.md (20 "
        "bytes), config.json ("
    )


@pytest.mark.parametrize(("count", "rest"), [(20, ""), (21, ", and 1 more"), (43, ", and 23 more")])
def test_of_many_files_twenty_are_listed_and_the_others_counted(tmp_path: Path, count: int, rest: str) -> None:
    for number in range(count):
        (tmp_path / f"{number:02}.txt").write_bytes(b"x" * 1000 * number)
    with pytest.raises(CheckpointError) as error:
        read_config(tmp_path)
    assert "it has no config.json; found: 00.txt (0 bytes), 01.txt (1,000 bytes), " in str(error.value)
    assert str(error.value).endswith(f", 19.txt (19,000 bytes){rest}")


def test_an_empty_folder_is_listed_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(CheckpointError, match=r"it has no config\.json; found: nothing$"):
        read_config(tmp_path)
    assert list_files(tmp_path) == []


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_earlier_format_versions_are_refused_with_the_command_that_converts_them(folder: Path, version: int) -> None:
    (folder / "config.json").write_text(json.dumps({"format_version": version, "more": 1}))
    with pytest.raises(CheckpointError, match=f"has format_version {version}, .*`router checkpoint upgrade {folder}`"):
        read_config(folder)
    assert read_config(folder, checkpoint_folder.UPGRADABLE) == {"format_version": version, "more": 1}


@pytest.mark.parametrize("version", [0, 1, 7, "2", None])
def test_other_format_versions_are_refused(folder: Path, version: object) -> None:
    (folder / "config.json").write_text(json.dumps({"format_version": version}))
    with pytest.raises(CheckpointError, match=f"has format_version {version!r}; this installation reads 6: "):
        read_config(folder)


@pytest.mark.parametrize("content", ["[]", "{}", '["format_version"]', '"format_version"'])
def test_a_config_without_a_format_version_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"its config\.json has no format_version"):
        read_config(folder)


def test_the_names_inside_a_checkpoint_are_values_that_nobody_changes() -> None:
    assert hash(Layout()) == hash(LAYOUT)
    assert LAYOUT.always_verified == set(VERIFIED[1:])


def test_a_folder_is_found_and_a_file_is_no_folder(folder: Path) -> None:
    assert find_folder(folder) == find_folder(str(folder)) == folder
    with pytest.raises(CheckpointError, match=r"config\.json is a file, but a checkpoint is a folder: "):
        find_folder(folder / "config.json")


def test_a_checkpoint_an_empty_folder_and_a_new_one_are_replaced_as_a_whole(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for target in (folder, tmp_path / "empty", tmp_path / "new" / "one"):
        with replacing(target) as partial:
            (partial / "a").write_text("b")
        assert list_files(target) == ["a"]


@pytest.mark.parametrize("config", [None, "{}", "not JSON", '["format_version"]', '"format_version"'])
def test_a_folder_of_anything_else_is_left_alone(tmp_path: Path, config: str | None) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=r"refusing to replace .*thesis\.tex \(13 bytes\)"), replacing(tmp_path):
        raise AssertionError("the block must not begin")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    with pytest.raises(CheckpointError, match="is a file: choose another place"), replacing(tmp_path / "file"):
        raise AssertionError("the block must not begin")
    assert (tmp_path / "file").read_text() == "content"


def test_where_the_disk_refuses_or_the_block_fails_the_old_checkpoint_stays(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot write the checkpoint .*router: disk is full"), replacing(folder):
        raise OSError("disk is full")
    with pytest.raises(ZeroDivisionError), replacing(folder):
        raise ZeroDivisionError
    assert set(VERIFIED) < set(list_files(folder))
    assert list(folder.parent.iterdir()) == [folder]
