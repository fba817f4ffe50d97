"""Models added to a trained checkpoint: stored to the bit, apart from the trained files, as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixtures.added_profiles import NEW, ÉLAN
from fixtures.tiny_checkpoint import SYSTEMS
from safetensors import numpy as safetensors
from safetensors import safe_open

from router.checkpoint.added_models import (
    AddedModels,
    AddedProfile,
    extended,
    read_added_models,
    with_members,
    with_revisions,
    write_added_models,
)
from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.layout import LAYOUT, list_files
from router.checkpoint.storage import load_checkpoint, save_checkpoint
from router.errors import CheckpointError
from router.network.scoring import logits
from router.network.vectors import ARRAYS
from router.onboarding.add_model import forget
from router.pools.pool import Candidate, Pool
from router.routing.router import Router

LENGTH = 9 + 4 + 5 + 2  # C + K + R, slope, bias: F of the tiny checkpoint
QUERIES = ["prove that two is the root", "write python code", "who is a prime"]


POOL = Pool("mine", (Candidate(NEW.facts, NEW.system), Candidate(ÉLAN.facts, ÉLAN.system)), 0.125)
TWO = AddedModels((NEW, ÉLAN), (POOL,))


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in list_files(folder)}


def same(found: AddedProfile, wanted: AddedProfile) -> bool:
    """Whether every field is equal, arrays to the bit."""
    plain = {name: value for name, value in vars(wanted).items() if name not in ("row", "covariance_factor")}
    arrays = all(
        np.array_equal(getattr(found, name), getattr(wanted, name))
        and getattr(found, name).dtype == getattr(wanted, name).dtype
        for name in ("row", "covariance_factor")
    )
    return arrays and all(getattr(found, name) == value for name, value in plain.items())


# The file


def test_profiles_and_pools_return_equal_to_the_bit(tmp_path):
    write_added_models(TWO, tmp_path / "file")
    found = read_added_models(tmp_path / "file")
    assert len(found.profiles) == 2 and all(map(same, found.profiles, TWO.profiles))
    assert found.pools == (POOL,)


def test_the_same_profiles_are_the_same_bytes_each_time(tmp_path):
    contents = set()
    for _ in range(12):
        write_added_models(TWO, tmp_path / "file")
        contents.add((tmp_path / "file").read_bytes())
    assert len(contents) == 1


def test_without_a_file_nobody_was_onboarded_and_nobody_leaves_no_file(tmp_path):
    assert read_added_models(tmp_path / "file").profiles == ()
    write_added_models(AddedModels(), tmp_path / "file")
    write_added_models(TWO, tmp_path / "file")
    write_added_models(AddedModels(), tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_crash_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_added_models(AddedModels((NEW,)), file)
    before = file.read_bytes()

    def full(*paths: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match=r"cannot write .*file: no space left on device"):
        write_added_models(TWO, file)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]

    def killed(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_added_models(TWO, file)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def rewrite(file: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object], version: int = 1) -> None:
    """Change what the file holds, its parsed JSON and its tensors, in place."""
    with safe_open(file, "numpy") as stored:
        raw = json.loads(stored.metadata()["onboarded"])
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    change(raw, tensors)
    raw["version"] = version
    file.write_bytes(safetensors.save(tensors, metadata={"onboarded": json.dumps(raw)}))


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, -1])
def test_a_file_cut_short_says_what_to_do(tmp_path, kept):
    write_added_models(TWO, tmp_path / "file")
    content = (tmp_path / "file").read_bytes()
    size = int(kept * len(content)) if isinstance(kept, float) else kept
    (tmp_path / "file").write_bytes(content[:size])
    with pytest.raises(
        CheckpointError, match=r"file is broken \(.*remove the file to have the router as it was trained"
    ):
        read_added_models(tmp_path / "file")


@pytest.mark.parametrize(
    "change",
    [
        lambda raw, tensors: raw.pop("profiles"),
        lambda raw, tensors: raw.pop("pools"),
        lambda raw, tensors: raw["profiles"].pop(),
        lambda raw, tensors: raw["profiles"][0].pop("like"),
        lambda raw, tensors: raw["profiles"][0]["facts"].update(speed=3),
        lambda raw, tensors: raw["profiles"][0].update(facts=[]),
        lambda raw, tensors: raw["profiles"].__setitem__(0, 5),
        lambda raw, tensors: raw["pools"][0]["models"][0].update(profile="nobody@chat"),
        lambda raw, tensors: raw["pools"][0]["models"][0].pop("input_usd_per_mtok"),
        lambda raw, tensors: tensors.pop("spread"),
        lambda raw, tensors: tensors["row"].__setitem__(1, np.nan),
        lambda raw, tensors: tensors["spread"].__setitem__(0, np.inf),
    ],
)
def test_a_file_that_does_not_hold_what_it_should_says_what_to_do(tmp_path, change):
    write_added_models(TWO, tmp_path / "file")
    rewrite(tmp_path / "file", change)
    with pytest.raises(CheckpointError, match=r"(?s)file is broken \(.*remove the file to have the router as it was"):
        read_added_models(tmp_path / "file")


def test_a_newer_file_says_which_versions_there_are_and_what_to_do(tmp_path):
    write_added_models(TWO, tmp_path / "file")
    rewrite(tmp_path / "file", lambda raw, tensors: None, version=2)
    with pytest.raises(CheckpointError, match=r"has version 2, this installation reads 1.*(install|remove)"):
        read_added_models(tmp_path / "file")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(safetensors.save({"row": np.zeros(2)}))
    with pytest.raises(CheckpointError, match="has version None"):
        read_added_models(tmp_path / "file")


# The learned rows


def test_trained_rows_stay_as_they_are_and_the_new_follow_in_order(tiny_checkpoint):
    old = tiny_checkpoint.network.learned
    grown = extended(old, TWO.profiles, [0, 1])
    for name in ARRAYS:
        assert torch.equal(getattr(grown, name)[: len(SYSTEMS)], getattr(old, name)), name
    assert np.array_equal(grown.rows()[len(SYSTEMS) :], [NEW.row, ÉLAN.row])
    assert grown.protocol.tolist() == [0, 0, 1, 0, 1]
    assert grown.mean_score[3:].tolist() == pytest.approx([NEW.mean_score, ÉLAN.mean_score])
    assert grown.log_tokens[3:].tolist() == [3.125, 3.125]
    assert len(old.bias) == len(SYSTEMS)  # the trained ones are as they were


def test_without_anybody_the_rows_are_the_trained_ones_themselves(tiny_checkpoint):
    learned = tiny_checkpoint.network.learned
    assert extended(learned, (), ()) is learned
    assert tiny_checkpoint.all_learned.weight.data_ptr() == learned.weight.data_ptr()


def test_a_row_scores_as_its_features_say_whatever_its_protocol(tiny_checkpoint):
    from router.policy.candidates import features

    grown = extended(tiny_checkpoint.network.learned, TWO.profiles, [0, 1])
    query = tiny_checkpoint.network.query_vectors(tiny_checkpoint.encoder.encode(QUERIES))
    found = logits(query.vector, grown.matrix(), grown.bias)
    for column, profile in enumerate(TWO.profiles):
        expected = features(query, column, LENGTH - 2).numpy() @ profile.row
        assert found[:, len(SYSTEMS) + column].numpy() == pytest.approx(expected, abs=1e-5)


# Pools


def test_models_join_the_pools_they_name_at_the_end_and_own_pools_stand_beside(tiny_checkpoint):
    pools = with_members(tiny_checkpoint.pools, TWO)
    assert pools["both"].ids == (*tiny_checkpoint.pools["both"].ids, "new")
    assert pools["both"].cost_range_usd == tiny_checkpoint.pools["both"].cost_range_usd
    assert pools["odd"] is tiny_checkpoint.pools["odd"]
    assert pools["mine"] == with_revisions(POOL, TWO) != POOL
    assert [c.revision for c in pools["mine"].candidates] == [NEW.revision, ÉLAN.revision]
    assert [c.revision for c in pools["both"].candidates] == ["", "", NEW.revision]
    assert tiny_checkpoint.pools["both"].ids == ("large", "small")


def test_who_goes_leaves_the_pools_too_and_the_last_one_takes_the_pool_along():
    one = TWO.without([ÉLAN.system])
    assert one.systems == (NEW.system,) and one.pools[0].ids == ("new",)
    assert one.pools[0].cost_range_usd == POOL.cost_range_usd
    none = one.without([NEW.system])
    assert none.profiles == () and none.pools == ()
    assert TWO.without([]).systems == TWO.systems


def test_what_a_profile_rests_on_is_said_in_words():
    assert NEW.rests_on == "mean of the 40 graded answers it was fitted from and gsm8k"
    assert ÉLAN.rests_on == "mean of the 41 graded answers it was fitted from"
    assert replace(NEW, answers=0).rests_on == "expected from gsm8k"


# The checkpoint


def test_a_checkpoint_is_saved_and_loaded_with_them_to_the_bit(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(replace(tiny_checkpoint, added_models=TWO), tmp_path / "router")
    loaded = load_checkpoint(tmp_path / "router")
    assert all(map(same, loaded.added_models.profiles, TWO.profiles)) and loaded.added_models.pools == TWO.pools
    before, after = Router(replace(tiny_checkpoint, added_models=TWO)), Router(loaded)
    assert torch.equal(before.predict(QUERIES, "mine").quality, after.predict(QUERIES, "mine").quality)


def test_no_trained_file_changes_and_after_forgetting_the_folder_is_as_it_was(tiny_router: Path) -> None:
    before = digests(tiny_router)
    file = tiny_router / LAYOUT.added_models
    write_added_models(TWO, file)
    after = digests(tiny_router)
    assert after.pop(LAYOUT.added_models) and after == before
    left = forget(load_checkpoint(tiny_router), "new")
    write_added_models(left.added_models, file)
    assert load_checkpoint(tiny_router).added_models.systems == (ÉLAN.system,)
    write_added_models(forget(load_checkpoint(tiny_router), "élan@exam").added_models, file)
    assert digests(tiny_router) == before


def test_a_checkpoint_saved_anew_with_and_without_them_has_the_same_trained_files(
    tiny_checkpoint, tiny_router, tmp_path
):
    save_checkpoint(replace(tiny_checkpoint, added_models=TWO), tmp_path / "with")
    found = digests(tmp_path / "with")
    assert found.pop(LAYOUT.added_models) and found == digests(tiny_router)


def test_trained_models_score_the_same_to_the_bit_whoever_is_onboarded(tiny_checkpoint: Checkpoint) -> None:
    plain = Router(tiny_checkpoint)
    grown = Router(replace(tiny_checkpoint, added_models=AddedModels((replace(NEW, pools=()), ÉLAN))))
    for pool in ("both", "odd"):  # the third of `odd` is at the prior of its price class, to which the new ones belong
        before, after = plain.predict(QUERIES, pool), grown.predict(QUERIES, pool)
        assert torch.equal(before.quality[:, :2], after.quality[:, :2])
        assert torch.equal(before.cost_usd[:, :2], after.cost_usd[:, :2])


def test_a_broken_file_stops_the_checkpoint_and_without_it_the_trained_router_is_back(tiny_router: Path) -> None:
    (tiny_router / LAYOUT.added_models).write_bytes(b"PK\x03\x04 a pickle")
    with pytest.raises(CheckpointError, match=r"onboarded\.safetensors is broken .*remove the file"):
        load_checkpoint(tiny_router)
    (tiny_router / LAYOUT.added_models).unlink()
    assert load_checkpoint(tiny_router).added_models.profiles == ()


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (replace(NEW, reference_protocol="exma"), "onboarded 'new@chat' refers to the unknown protocol 'exma'"),
        (replace(NEW, row=NEW.row[1:]), "onboarded 'new@chat' has 19 numbers, a profile has 20"),
        (
            replace(NEW, covariance_factor=NEW.covariance_factor[1:]),
            "onboarded 'new@chat' has .* numbers, a profile has 20",
        ),
        (replace(NEW, system=SYSTEMS[1]), "onboarded 'small@chat' has a profile already"),
    ],
)
def test_a_profile_that_does_not_fit_the_trained_router_is_neither_saved_nor_loaded(
    tiny_checkpoint: Checkpoint, tiny_router: Path, tmp_path: Path, profile: AddedProfile, message: str
) -> None:
    with pytest.raises(CheckpointError, match=f"this checkpoint cannot be saved: {message}"):
        save_checkpoint(replace(tiny_checkpoint, added_models=AddedModels((profile,))), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    write_added_models(AddedModels((profile,)), tiny_router / LAYOUT.added_models)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tiny_router)


def test_a_system_that_is_onboarded_twice_is_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="onboarded 'new@chat' has a profile already"):
        save_checkpoint(replace(tiny_checkpoint, added_models=AddedModels((NEW, NEW))), tmp_path / "new")
