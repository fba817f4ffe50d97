"""Saving and loading a checkpoint: what returns to the bit, and which contents are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from fixtures.tiny_checkpoint import edit, rewrite_checksums

from router.checkpoint.benchmark_scores import BenchmarkScores
from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.layout import LAYOUT, list_files
from router.checkpoint.storage import FRONT_MATTER, load_checkpoint, save_checkpoint
from router.errors import CheckpointError, UsageError
from router.policy.goals import DialTable

# Round trips


def test_heads_and_profiles_and_rounded_encoder_weights_return_to_the_bit(
    tiny_checkpoint: Checkpoint, tiny_router: Path
) -> None:
    loaded = load_checkpoint(tiny_router)
    for part in ("encoder", "network"):
        before, after = getattr(tiny_checkpoint, part).state_dict(), getattr(loaded, part).state_dict()
        assert list(before) == list(after)
        assert all(
            torch.equal(after[name], tensor) and after[name].dtype == tensor.dtype for name, tensor in before.items()
        )
    query = ["prove that two is prime"]
    assert torch.equal(loaded.encoder.encode(query), tiny_checkpoint.encoder.encode(query))
    assert not loaded.network.training and not loaded.encoder.training


def test_everything_else_returns_equal(tiny_checkpoint: Checkpoint, tiny_router: Path) -> None:
    loaded = load_checkpoint(tiny_router)
    assert (loaded.encoder.max_tokens, loaded.encoder.layers) == (100, (1, 2))
    assert loaded.network.size == tiny_checkpoint.network.size
    assert loaded.card == FRONT_MATTER + "# Card\n"
    for name in ("taxonomy", "systems", "protocols", "models", "pools", "default_pool", "training"):
        assert getattr(loaded, name) == getattr(tiny_checkpoint, name), name
    assert loaded.pools["odd"].candidates[1].facts.tags == ()  # the model has one: the entry says that it has none


def test_what_is_loaded_saves_the_same_bytes(tiny_router: Path, tmp_path: Path) -> None:
    save_checkpoint(load_checkpoint(tiny_router), tmp_path / "again")
    assert list_files(tiny_router) == list_files(tmp_path / "again")
    assert all(
        (tiny_router / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
        for name in list_files(tiny_router)
    )


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_packed_checkpoint_stays_packed_and_equal_to_the_bit(
    tiny_checkpoint: Checkpoint, tmp_path: Path, backend: str
) -> None:
    folders = [tmp_path / name for name in ("packed", "again", "plain")]
    save_checkpoint(tiny_checkpoint, folders[0], packed=True)
    loaded = load_checkpoint(folders[0], backend=backend)
    save_checkpoint(loaded, folders[1])
    names = list_files(folders[0])
    assert "encoder/model-packed.safetensors" in names and "encoder/model.safetensors" not in names
    assert names == list_files(folders[1])
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names)
    save_checkpoint(loaded, folders[2], packed=False)
    assert "encoder/model.safetensors" in list_files(folders[2])
    plain = load_checkpoint(folders[2], backend=backend)
    query = ["prove that two is prime"]
    assert np.array_equal(plain.encoder.encode(query), loaded.encoder.encode(query))


def test_packed_weights_in_another_precision_are_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="packed weights have no weights_dtype float32: leave it out"):
        save_checkpoint(tiny_checkpoint, tmp_path / "router", torch.float32, packed=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_only_the_encoder_is_stored_in_the_given_precision(
    tiny_checkpoint: Checkpoint, tmp_path: Path, dtype: torch.dtype
) -> None:
    save_checkpoint(tiny_checkpoint, tmp_path / "router", weights_dtype=dtype)
    encoder = safetensors.torch.load_file(tmp_path / "router" / "encoder" / "model.safetensors")
    heads = safetensors.torch.load_file(tmp_path / "router" / "heads.safetensors")
    assert {tensor.dtype for tensor in encoder.values()} == {dtype}
    assert {tensor.dtype for tensor in heads.values()} == {torch.float32, torch.int64}
    assert json.loads((tmp_path / "router" / "config.json").read_text())["weights_dtype"] == str(dtype)[6:]
    assert load_checkpoint(tmp_path / "router").encoder.encode(["two"]).dtype == torch.float32


def test_another_precision_is_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must be one of float16, bfloat16, float32, got torch\.int8"):
        save_checkpoint(tiny_checkpoint, tmp_path / "router", weights_dtype=torch.int8)


def test_a_card_with_front_matter_is_written_as_it_is(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    card = "---\nlicense: mit\n---\n# Mine\n"
    save_checkpoint(replace(tiny_checkpoint, card=card), tmp_path / "router")
    assert (tmp_path / "router" / "README.md").read_text() == card == load_checkpoint(tmp_path / "router").card


def test_a_checkpoint_is_safetensors_json_graphs_and_a_card_and_nothing_else(tiny_router: Path) -> None:
    assert {Path(name).suffix for name in list_files(tiny_router)} == {".json", ".safetensors", ".onnx", ".md"}
    assert {name for name in list_files(tiny_router) if "/" not in name} == {
        *(LAYOUT.config, LAYOUT.heads, LAYOUT.heads_graph, LAYOUT.taxonomy, LAYOUT.profiles, LAYOUT.card)
    }


def test_dial_tables_are_saved_and_return_equal(tiny_checkpoint: Checkpoint, tiny_router: Path) -> None:
    assert load_checkpoint(tiny_router).dial_tables == {}  # one from before there were any
    tables = {"both": DialTable("abc", 3, (0.0, 10.0), (2.0, 0.5), (0.75, 0.5), (0.625, 0.5))}
    save_checkpoint(replace(tiny_checkpoint, dial_tables=tables), tiny_router)
    assert load_checkpoint(tiny_router).dial_tables == tables
    edit(tiny_router / "dials.json", lambda raw: raw["both"].pop("dial"))
    with pytest.raises(CheckpointError, match=r"dials\.json: no dial tables \(.*measure again"):
        load_checkpoint(tiny_router)


def test_benchmark_scores_are_saved_and_return_equal(tiny_checkpoint: Checkpoint, tiny_router: Path) -> None:
    assert load_checkpoint(tiny_router).benchmarks == BenchmarkScores()  # one from before there were any
    scores = BenchmarkScores({("gsm8k", "chat"): {"large": 0.95, "small": 0.5}})
    save_checkpoint(replace(tiny_checkpoint, benchmarks=scores), tiny_router)
    assert load_checkpoint(tiny_router).benchmarks == scores
    edit(tiny_router / "benchmarks.json", lambda raw: raw[0]["scores"].update(large=95))
    with pytest.raises(CheckpointError, match=r"benchmarks\.json: no benchmark scores \(.*delete the file"):
        load_checkpoint(tiny_router)


def test_loading_leaves_the_callers_random_numbers_alone(tiny_router: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_checkpoint(tiny_router)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("backend", "unwanted"),
    [("onnx", {"torch", "transformers", "huggingface_hub"}), ("torch", {"lightning", "sklearn"})],
)
def test_loading_and_encoding_import_no_more_than_the_backend_needs(
    tiny_router: Path, backend: str, unwanted: set[str]
) -> None:
    code = (
        "import sys; from router.checkpoint.storage import load_checkpoint; "
        f"load_checkpoint({str(tiny_router)!r}, backend={backend!r}).encoder.encode(['two']); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {*unwanted, "sentence_transformers", "pandas"}


def test_the_card_may_be_edited_and_even_deleted(tiny_router: Path) -> None:
    (tiny_router / "README.md").write_bytes(b"caf\xe9")
    assert load_checkpoint(tiny_router).card == "caf\ufffd"
    (tiny_router / "README.md").unlink()
    assert load_checkpoint(tiny_router).card == ""


# What is not loaded


def test_not_a_number_in_the_weights_is_refused(tiny_router: Path) -> None:
    for name, weight in (
        ("heads.safetensors", "heads.trunk.0.bias"),
        ("encoder/model.safetensors", "embeddings.LayerNorm.bias"),
    ):
        state = safetensors.torch.load_file(tiny_router / name)
        state[weight][0] = torch.nan
        safetensors.torch.save_file(state, tiny_router / name)
    rewrite_checksums(tiny_router)
    with pytest.raises(
        CheckpointError, match=r"encoder are not finite .*LayerNorm\.bias; .* network .*heads\.trunk\.0\.bias"
    ):
        load_checkpoint(tiny_router)


def test_a_taxonomy_of_another_size_than_the_heads_is_refused(tiny_router: Path) -> None:
    edit(tiny_router / "taxonomy.json", lambda raw: (raw["domains"].append("Music"), raw["capabilities"].pop()))
    rewrite_checksums(tiny_router)
    message = "the taxonomy has 8 capabilities, but the heads are made for 9; the taxonomy has 5 domains, .* for 4"
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tiny_router)


def test_a_file_that_is_no_taxonomy_is_refused(tiny_router: Path) -> None:
    (tiny_router / "taxonomy.json").write_text('{"domains": ["Law"]}')
    rewrite_checksums(tiny_router)
    with pytest.raises(CheckpointError, match=r"taxonomy\.json: not a taxonomy \(capabilities, domains, aliases\)"):
        load_checkpoint(tiny_router)


def test_heads_of_another_size_than_the_config_says_are_refused(tiny_router: Path) -> None:
    edit(tiny_router / "config.json", lambda raw: raw["dimensions"].update(residual=4))
    with pytest.raises(
        CheckpointError, match=r"(?s)heads\.safetensors does not fit the dimensions in config\.json:.*residual"
    ):
        load_checkpoint(tiny_router)


def test_heads_that_are_no_safetensors_are_refused(tiny_router: Path) -> None:
    (tiny_router / "heads.safetensors").write_bytes(b"PK\x03\x04 a pickle")
    rewrite_checksums(tiny_router)
    with pytest.raises(CheckpointError, match=r"heads\.safetensors is not a whole safetensors file"):
        load_checkpoint(tiny_router)


def test_an_encoder_of_another_size_than_the_heads_is_refused(tiny_router: Path) -> None:
    edit(tiny_router / "config.json", lambda raw: raw["dimensions"].update(embedding=13))
    state = safetensors.torch.load_file(tiny_router / "heads.safetensors")
    state |= {
        "heads.trunk.0.weight": torch.zeros(7, 13),
        "heads.centre": torch.zeros(13),
        "heads.scale": torch.ones(13),
    }
    safetensors.torch.save_file(state, tiny_router / "heads.safetensors")
    rewrite_checksums(tiny_router)
    with pytest.raises(
        CheckpointError, match="the encoder makes 24 numbers in an embedding, but the heads are made for 13"
    ):
        load_checkpoint(tiny_router)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.pop("systems"), "KeyError: 'systems'"),
        (lambda raw: raw["systems"].__setitem__(0, "large"), "system 'large' is not spelt model@protocol"),
        (lambda raw: raw["systems"].__setitem__(0, "tiny@chat"), r"has a system of 'tiny', whose facts are missing"),
        (lambda raw: raw["systems"].reverse(), "system 'small@exam' has a profile under protocol 'chat'"),
        (lambda raw: raw["dimensions"].update(hidden="7"), r"config\.json is broken: TypeError"),
        (lambda raw: raw["dimensions"].update(depth=2), r"config\.json is broken: TypeError: .*depth"),
        (lambda raw: raw["encoder"].update(max_tokens=1000), "UsageError: max_tokens must lie between 4 and 512"),
        (lambda raw: raw.update(default_pool="chat27"), "the default pool 'chat27' is none of its pools"),
    ],
)
def test_a_broken_config_is_one_clear_error(tiny_router: Path, change: Callable[[Any], object], message: str) -> None:
    edit(tiny_router / "config.json", change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tiny_router)
