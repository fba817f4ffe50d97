"""The checkpoint of a command: found, and loaded on its device."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from router import installation
from router.checkpoint import default_checkpoint
from router.cli.loading import find_checkpoint, load_router
from router.errors import CheckpointError, UsageError
from router.routing.router import Router


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a clone would have its checkpoint; not there yet. No variable is set."""
    monkeypatch.delenv("ROUTER_CHECKPOINT", raising=False)
    monkeypatch.setattr(default_checkpoint, "SHIPPED_CHECKPOINT", tmp_path / "checkpoints" / "routemix")
    return tmp_path / "checkpoints" / "routemix"


def test_the_flag_comes_before_the_variable_and_that_before_the_clone(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone.mkdir(parents=True)
    (clone / "config.json").touch()
    assert find_checkpoint(None) == str(clone)
    monkeypatch.setenv("ROUTER_CHECKPOINT", "from/variable")
    assert find_checkpoint(None) == "from/variable"
    assert find_checkpoint("from/flag") == "from/flag"


def test_an_empty_variable_counts_as_unset_and_no_checkpoint_says_how_to_get_one(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTER_CHECKPOINT", "")
    looked = r"ROUTER_CHECKPOINT is not set, .* none at .*routemix, and the package inferencedynamics-checkpoint is not"
    with pytest.raises(CheckpointError, match=rf"{looked} installed: .*--checkpoint or .*configs/demo\.yaml"):
        find_checkpoint(None)


def test_what_there_is_instead_of_the_default_checkpoint_is_named(clone: Path) -> None:
    other = clone.with_name("mine")
    other.mkdir(parents=True)
    (other / "config.json").touch()
    with pytest.raises(CheckpointError, match=rf"\(but there is {other}\)"):
        find_checkpoint(None)


def test_the_clones_checkpoint_lies_beside_the_package() -> None:
    assert Path(__file__).parents[3] / "checkpoints" / "routemix" == installation.SHIPPED_CHECKPOINT


def test_the_checkpoint_and_the_device_reach_the_router(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(Router, "from_pretrained", lambda *args, **options: seen.append((args, options)))
    load_router(Namespace(checkpoint="here", device="cpu", backend="torch"))
    assert seen == [(("here",), {"device": "cpu", "index": "auto", "backend": "torch"})]
    with pytest.raises(UsageError, match=r"--device cpuu cannot be used .*use cpu, or cuda"):
        load_router(Namespace(checkpoint="here", device="cpuu"))
