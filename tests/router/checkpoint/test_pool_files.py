"""Which pool a request means: a name is one of the checkpoint's pools, a path is a file, and never the other."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fixtures.added_profiles import NEW
from fixtures.tiny_checkpoint import FACTS, SYSTEMS, edit

from router.checkpoint import pool_files
from router.checkpoint.added_models import AddedModels
from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.storage import load_checkpoint, save_checkpoint
from router.errors import CheckpointError, PoolError
from router.pools.pool import Candidate, Pool, Upstream
from router.routing.router import Router
from router.serving.service import ConfigLoader
from train.export import checkpoint as export

ENTRY = {"id": "small", "profile": "small@chat", "input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.5}
THEIRS = Upstream("https://attacker.example/v1", "large", "OPENAI_API_KEY")


def write(path: Path, price: float = 0.5, name: str = "mine") -> Path:
    path.write_text(json.dumps({"name": name, "models": [ENTRY | {"output_usd_per_mtok": price}]}))
    return path


def named(checkpoint: Checkpoint, *names: str) -> Router:
    """A router whose checkpoint has its pool `both` under further names too."""
    pool = checkpoint.pools["both"]
    return Router(replace(checkpoint, pools=checkpoint.pools | {name: replace(pool, name=name) for name in names}))


@pytest.mark.parametrize("path", ["pool.yaml", "pool.yml", "pool.json", "./pool", "folder/pool", Path("pool")])
def test_a_path_is_read_from_disk_even_where_the_checkpoint_has_a_pool_of_that_name(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    router = named(tiny_checkpoint, str(path))
    with pytest.raises(PoolError, match="no such file"):
        router.pool(path)
    write(Path(path))
    assert router.pool(path).ids == ("small",)


def test_a_name_is_never_a_file(tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "both")
    write(tmp_path / "mine")
    router = Router(tiny_checkpoint)
    assert router.pool("both") == tiny_checkpoint.pools["both"]
    with pytest.raises(
        PoolError, match=r"unknown pool 'mine'; known: both, odd; or give a pool file by its path: \./mine"
    ):
        router.pool("mine")


def test_the_default_pool_is_the_checkpoints_whatever_its_name(tiny_checkpoint: Checkpoint) -> None:
    odd = named(tiny_checkpoint, "pool.yaml").checkpoint
    assert Router(replace(odd, default_pool="pool.yaml")).pool().ids == ("large", "small")


def test_the_server_serves_the_file_it_was_given(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pool.yaml", "pool"):
        write(tmp_path / name)
        _, snapshot = ConfigLoader(Path(name), lambda name=name: named(tiny_checkpoint, name), {}).load()  # type: ignore[misc]
        assert snapshot.pool.ids == ("small",)


# Upstreams


def test_a_checkpoint_whose_pools_carry_an_upstream_is_refused(tiny_checkpoint: Checkpoint, tiny_router: Path) -> None:
    def plant(raw: Any) -> None:
        raw["pools"][1]["models"][0]["upstream"] = THEIRS.to_json()

    edit(tiny_router / "profiles.json", plant)
    message = r"pool 'odd' says where large-eu answers \(upstream\), which only a pool file of the operator may"
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tiny_router)
    with pytest.raises(CheckpointError, match=message):
        Router.from_pretrained(tiny_router, backend="onnx")


def test_a_pool_with_an_upstream_is_not_saved_into_a_checkpoint(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    pool = Pool("theirs", (Candidate(FACTS["large"], SYSTEMS[0], THEIRS),))
    changed = replace(tiny_checkpoint, pools=tiny_checkpoint.pools | {"theirs": pool})
    with pytest.raises(CheckpointError, match="cannot be saved: pool 'theirs' says where large answers"):
        save_checkpoint(changed, tmp_path / "router")


def test_an_onboarded_pool_with_an_upstream_is_refused_too(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    pool = Pool("theirs", (Candidate(NEW.facts, NEW.system, THEIRS),))
    changed = replace(tiny_checkpoint, added_models=AddedModels((NEW,), (pool,)))
    with pytest.raises(CheckpointError, match="cannot be saved: pool 'theirs' says where new answers"):
        save_checkpoint(changed, tmp_path / "router")


def test_what_training_exports_leaves_upstreams_in_the_pool_files(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool("theirs", (Candidate(FACTS["large"], SYSTEMS[0], THEIRS), Candidate(FACTS["small"], SYSTEMS[1])))
    outcomes = SimpleNamespace(realised_usd=np.array([[3.0, 1.0], [5.0, 1.0]]))
    monkeypatch.setattr(export, "train_outcomes", lambda data, pool: outcomes)
    monkeypatch.setattr(export, "reference_models", lambda outcomes, pool: (0, 1))
    found = export.with_cost_ranges(SimpleNamespace(pools={"theirs": pool}))  # type: ignore[arg-type]
    assert found == {"theirs": Pool("theirs", (Candidate(FACTS["large"], SYSTEMS[0]), pool.candidates[1]), 3.0)}


# Reading once


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The pool files that were parsed."""
    seen: list[Path] = []
    read_pool = pool_files.read_pool

    def recording(path: Path, *others: Any) -> Pool:
        seen.append(path)
        return read_pool(path, *others)

    monkeypatch.setattr(pool_files, "read_pool", recording)
    return seen


def age(path: Path, minutes: int = 1) -> Path:
    """The file as one written some minutes ago."""
    past = path.stat().st_mtime_ns - minutes * 60 * 10**9
    os.utime(path, ns=(past, past))
    return path


def test_a_pool_file_is_parsed_once_however_often_it_is_asked_for(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    router, path = Router(tiny_checkpoint), age(write(tmp_path / "pool.json"))
    monkeypatch.chdir(tmp_path)
    first = router.pool(path)
    assert all(router.pool(each) is first for each in (path, str(path), "pool.json", Path("pool.json")))
    for _ in range(3):
        router.route("prove it", pool=path)
    assert len(reads) == 1


@pytest.mark.parametrize("change", ["size", "time", "inode"])
def test_a_changed_pool_file_is_read_again(tiny_checkpoint: Checkpoint, tmp_path: Path, change: str) -> None:
    router, path = Router(tiny_checkpoint), age(write(tmp_path / "pool.json"))
    before = path.stat()
    assert router.pool(path).candidates[0].facts.output_usd_per_mtok == 0.5
    if change == "inode":  # replaced as a whole, at the same size and time
        write(tmp_path / "other.json", 0.7).replace(path)
    else:
        write(path, 0.7 if change == "time" else 0.75)
    if change != "time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert router.pool(path).candidates[0].facts.output_usd_per_mtok == (0.75 if change == "size" else 0.7)


def test_a_file_written_a_moment_ago_is_not_kept_since_it_may_change_within_a_tick_of_the_clock(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    router, path = Router(tiny_checkpoint), age(write(tmp_path / "pool.json"), minutes=-1)
    before = path.stat()
    assert router.pool(path).candidates[0].facts.output_usd_per_mtok == 0.5
    write(path, 0.7)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert router.pool(path).candidates[0].facts.output_usd_per_mtok == 0.7


def test_a_file_that_is_gone_or_broken_by_now_is_an_error(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    router, path = Router(tiny_checkpoint), age(write(tmp_path / "pool.json"))
    router.pool(path)
    path.write_text("{")
    with pytest.raises(PoolError, match="not JSON"):
        router.pool(path)
    path.unlink()
    with pytest.raises(PoolError, match="no such file"):
        router.pool(path)
