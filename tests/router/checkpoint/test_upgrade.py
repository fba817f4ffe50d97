"""Checkpoint folders of earlier formats, converted: decisions stay, and a failure changes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fixtures.added_profiles import make_profile
from safetensors.numpy import load_file, save_file

from router import Router
from router.checkpoint import storage, upgrade
from router.checkpoint.added_models import AddedModels
from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.layout import list_files
from router.checkpoint.storage import load_checkpoint, save_checkpoint
from router.checkpoint.upgrade import upgrade_checkpoint
from router.cli.main import main
from router.encoding.sentence_folder import FACTS, GRAPHS
from router.errors import CheckpointError, UsageError

HEADS = {f"heads.{name}" for name in ("level.weight", "level.bias", "gain", "shift")} | {
    f"heads.prototypes.{name}" for name in ("familiar", "fading")
}
NEW = {"heads.onnx", *(f"encoder/{name}" for name in (FACTS, *GRAPHS.values()))}


def as_it_was(folder: Path, version: int = 4, **encoder: Any) -> Path:
    """The folder without what format version 6 added, and before version 5 without graphs."""
    missing = NEW if version < 5 else set()
    for name in missing:
        (folder / name).unlink()
    heads = load_file(folder / "heads.safetensors")
    kept = {name.replace("deviation", "difficulty"): each for name, each in heads.items() if name not in HEADS}
    save_file(kept, folder / "heads.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["format_version"] = version
    config["encoder"] |= {"head_share": 0.75} | encoder
    del config["encoder"]["form"]
    config["sha256"] = {name: value for name, value in config["sha256"].items() if name not in missing}
    config["sha256"]["heads.safetensors"] = sha256((folder / "heads.safetensors").read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in list_files(folder)}


@pytest.fixture
def old(tiny_router: Path) -> Path:
    return as_it_was(tiny_router, correct_typos=False)


def test_earlier_formats_of_one_checkpoint_become_the_same_and_decide_alike(tiny_router: Path, tmp_path: Path) -> None:
    upgrade_checkpoint(as_it_was(tiny_router, 5))
    folder = as_it_was(Path(shutil.copytree(tiny_router, tmp_path / "older")), correct_typos=True)
    queries = ["Is this indemnity clause enforceable in Delaware?", "hi"]
    expected = [each.to_json() for each in Router.from_pretrained(tiny_router, backend="onnx").route(queries)]
    assert upgrade_checkpoint(folder) == 4
    found, wanted = contents(folder), contents(tiny_router)
    assert json.loads(found.pop("config.json")) == json.loads(wanted.pop("config.json"))
    assert found == wanted
    assert [each.to_json() for each in Router.from_pretrained(folder, backend="onnx").route(queries)] == expected


@pytest.mark.parametrize("version", [2, 5])
def test_an_upgraded_head_of_difficulty_is_the_deviation_of_queries_that_are_all_familiar(
    tiny_router: Path, version: int
) -> None:
    as_it_was(tiny_router, version)
    old = load_file(tiny_router / "heads.safetensors")["heads.difficulty.weight"]
    assert upgrade_checkpoint(tiny_router) == version
    heads = load_checkpoint(tiny_router).network.heads
    assert (heads.deviation.weight.numpy(force=True) == old).all() and not heads.gain.any() and not heads.shift.any()
    decision = Router.from_pretrained(tiny_router).route("who?")
    assert (decision.level, decision.level_word, decision.familiarity) == (3.0, "medium", 1.0)
    assert set(json.loads((tiny_router / "config.json").read_text())["encoder"]) == {"max_tokens", "layers", "form"}


def test_added_models_and_all_other_files_stay_byte_for_byte(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    added = AddedModels((make_profile("new"),))
    folder = tmp_path / "router"
    save_checkpoint(replace(tiny_checkpoint, added_models=added), folder)
    (folder / "index").mkdir()
    (folder / "index" / "pool.faiss").write_bytes(b"an index")
    before = contents(as_it_was(folder))
    assert upgrade_checkpoint(folder) == 4
    after = contents(folder)
    changed = NEW | {"config.json", "heads.safetensors"}
    assert {name for name in after if after[name] != before.get(name)} == changed
    assert load_checkpoint(folder, backend="onnx").added_models.systems == added.systems


def test_a_folder_of_the_current_format_stays_as_it_is(tiny_router: Path) -> None:
    before = contents(tiny_router)
    assert upgrade_checkpoint(tiny_router) == 6
    assert contents(tiny_router) == before


def test_until_then_the_folder_is_refused_with_the_command(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        CheckpointError, match=rf"`router checkpoint upgrade {old}` converts it, with torch \(pip install"
    ):
        Router.from_pretrained(old)
    assert main(["checkpoint", "upgrade", str(old)]) == 0
    assert capsys.readouterr().out == f"{old}: format_version 4 became 6; weights, pools and models as before\n"
    assert main(["checkpoint", "upgrade", str(old)]) == 0
    assert capsys.readouterr().out == f"{old} has format_version 6 already\n"
    assert Router.from_pretrained(old).route("who?").model


def test_who_had_typos_corrected_is_told(old: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = json.loads((old / "config.json").read_text())
    config["encoder"]["correct_typos"] = True
    (old / "config.json").write_text(json.dumps(config))
    upgrade_checkpoint(old)
    assert caplog.messages == ["typos are no longer corrected: a query with one may be routed differently than before"]


@pytest.mark.parametrize("damage", ["weights", "sizes", "settings", "export", "packages"])
def test_a_failure_changes_nothing(old: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((old / "config.json").read_text())
    if damage == "weights":
        (old / "heads.safetensors").write_bytes(b"other")
    if damage == "sizes":
        config["dimensions"]["hidden"] += 1
    if damage == "settings":
        del config["encoder"]["layers"]
    if damage == "export":
        monkeypatch.setattr(upgrade, "load_checkpoint", lambda *given, **named: 1 / 0)
    if damage == "packages":
        monkeypatch.setattr(storage, "find_spec", lambda name: None)
    (old / "config.json").write_text(json.dumps(config))
    before = contents(old)
    with pytest.raises((CheckpointError, UsageError, ZeroDivisionError)):
        upgrade_checkpoint(old)
    assert contents(old) == before and [each.name for each in old.parent.iterdir()] == [old.name]


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no folder hub:owner/name: give a checkpoint's folder on this"):
        upgrade_checkpoint("hub:owner/name")
