"""A checkpoint's lists of trained and added models, and parts that do not fit together."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures.added_profiles import NEW, make_profile
from fixtures.tiny_checkpoint import FACTS, SYSTEMS

from router.checkpoint.added_models import AddedModels
from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.storage import save_checkpoint
from router.errors import CheckpointError
from router.network.taxonomy import Taxonomy
from router.pools.models import ModelFacts


def test_a_checkpoint_lists_trained_then_added_systems_and_trained_facts_come_first(tiny_checkpoint):
    other = make_profile("large", "exam", 2)  # a trained model under a protocol it was not trained for
    grown = replace(tiny_checkpoint, added_models=AddedModels((NEW, other)))
    assert grown.all_systems == (*SYSTEMS, NEW.system, other.system)
    assert grown.all_models["new"] == NEW.facts
    assert grown.all_models["large"] == tiny_checkpoint.models["large"]
    assert set(grown.covariance_factors) == {NEW.system, other.system}


# Parts that do not fit together


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"default_pool": "bothh"}, r"the default pool 'bothh' is none of its pools; known: both, odd"),
        (
            {"taxonomy": Taxonomy(("Law", "other"))},
            "the taxonomy has 2 domains, but the heads are made for 4",
        ),
        (
            {"systems": SYSTEMS[:2]},
            "the list of systems has, each once, 2 systems, but the heads are made for 3",
        ),
        ({"systems": (SYSTEMS[0], *SYSTEMS[:2])}, "each once, 2 systems"),
        ({"systems": (SYSTEMS[2], *SYSTEMS[:2])}, "system 'small@exam' has a profile under protocol 'chat'"),
        ({"protocols": ("chat", "@exam")}, "protocol '@exam' must not contain @"),
        ({"models": {"large": FACTS["large"]}}, "config.json has a system of 'small', whose facts are missing"),
        (
            {"models": {**FACTS, "tiny": ModelFacts("tiny")}},
            "'tiny' is no model of config.json's systems; known: large",
        ),
        (
            {"models": FACTS | {"small": ModelFacts("small", -1.0, 1.0)}},
            r"input_usd_per_mtok: got -1\.0; write 0 or more",
        ),
        ({"models": {"large": FACTS["small"], "small": FACTS["large"]}}, "each must be keyed by its own id or name"),
        ({"training": {"path": Path("/tmp")}}, "`training` of a checkpoint must be plain JSON values: .*PosixPath"),
        ({"training": {"loss": float("nan")}}, "must be plain JSON values: Out of range float"),
    ],
)
def test_parts_that_do_not_fit_together_are_not_saved(
    tiny_checkpoint: Checkpoint, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(replace(tiny_checkpoint, **changes), tmp_path / "router")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_not_saved(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    network = copy.deepcopy(tiny_checkpoint.network)
    network.state_dict()["profiles.bias"][1] = torch.nan
    with pytest.raises(CheckpointError, match=r"weights of the network are not finite numbers .*: profiles\.bias"):
        save_checkpoint(replace(tiny_checkpoint, network=network), tmp_path / "router")


def test_encoder_weights_too_large_for_half_precision_are_saved_in_another(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    encoder = copy.deepcopy(tiny_checkpoint.encoder)
    encoder.state_dict()["transformer.embeddings.word_embeddings.weight"][1, 0] = 1e5
    large = replace(tiny_checkpoint, encoder=encoder)
    with pytest.raises(CheckpointError, match=r"weights of the encoder are not finite numbers in float16: .*word_emb"):
        save_checkpoint(large, tmp_path / "router")
    save_checkpoint(large, tmp_path / "router", weights_dtype=torch.bfloat16)
