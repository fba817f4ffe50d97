from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures.added_profiles import make_profile

from router import Router, UsageError
from router.checkpoint.added_models import AddedModels, write_added_models
from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.layout import LAYOUT
from router.checkpoint.storage import load_checkpoint
from router.encoding import backend
from router.encoding.backend import as_torch, choose_backend
from router.encoding.onnx_encoder import OnnxEncoder
from router.encoding.torch_encoder import QueryEncoder
from router.errors import CheckpointError
from router.index import shortlist
from router.network.onnx_network import OnnxNetwork
from router.network.torch_network import RouterNetwork

QUERIES = ["prove that two is prime", "write python code", "who?", "where is the money of 7 cells " * 20]


@pytest.fixture
def no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "onnxruntime_problem", lambda: "onnxruntime is not installed; pip install it")


# The choice


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("auto", "onnx"), ("onnx", "onnx"), ("onnx-int8", "onnx-int8"), ("torch", "torch"), ("torch-bf16", "torch-bf16")],
)
def test_on_a_cpu_with_onnxruntime_each_backend_is_what_it_says(tiny_router: Path, name: str, chosen: str) -> None:
    assert choose_backend(name, "cpu", tiny_router / "encoder") == chosen


def test_auto_says_once_what_it_took_and_why(
    tiny_router: Path, no_onnxruntime: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "router"):
        assert choose_backend("auto", "cpu", tiny_router / "encoder") == "torch"
    assert caplog.messages == [
        "the encoder is computed by torch: onnxruntime is not installed; pip install it",
    ]


def test_auto_is_torch_on_a_gpu_and_for_an_encoder_without_graphs(tiny_router: Path) -> None:
    folder = tiny_router / "encoder"
    assert choose_backend("auto", "cuda:1", folder) == "torch"
    (folder / "graph.json").unlink()
    assert choose_backend("auto", "cpu", folder) == "torch"
    with pytest.raises(UsageError, match=r"backend onnx cannot be used: .*encoder has no graph of the encoder"):
        choose_backend("onnx", "cpu", folder)


def test_without_torch_onnx_is_taken_and_whatever_needs_torch_says_what_to_install(
    tiny_router: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    router = Router.from_pretrained(tiny_router)
    assert router.route("who?").model in router.pool().ids
    with pytest.raises(UsageError, match=r"backend torch needs torch; pip install -e '\.\[torch\]'"):
        Router.from_pretrained(tiny_router, backend="torch")
    with pytest.raises(UsageError, match=r"changed and saved with torch; pip install -e '\.\[torch\]'"):
        router.save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_without_torch_and_onnxruntime_both_are_named(
    tiny_router: Path, no_onnxruntime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"needs torch; .*, and onnxruntime cannot be used: onnxruntime is not installed"
    ):
        Router.from_pretrained(tiny_router)


def test_an_unknown_backend_is_refused(tiny_router: Path) -> None:
    with pytest.raises(
        UsageError, match="backend must be one of auto, onnx, onnx-int8, torch, torch-bf16, got 'tensorflow'"
    ):
        Router.from_pretrained(tiny_router, backend="tensorflow")


@pytest.mark.parametrize("name", ["onnx", "onnx-int8"])
def test_onnx_on_a_gpu_is_refused(tiny_router: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"backend {name} cannot be used: it computes on the CPU, .* is cuda"):
        Router.from_pretrained(tiny_router, device="cuda", backend=name)


def test_onnx_without_onnxruntime_says_what_to_do(tiny_router: Path, no_onnxruntime: None) -> None:
    with pytest.raises(UsageError, match="not installed; pip install it; or take backend torch"):
        Router.from_pretrained(tiny_router, backend="onnx")


# Routers


def test_decisions_are_torchs(tiny_router: Path) -> None:
    onnx, reference = (Router.from_pretrained(tiny_router, backend=name) for name in ("onnx", "torch"))
    assert isinstance(onnx.encoder, OnnxEncoder) and isinstance(reference.encoder, QueryEncoder)
    for options in ({}, {"guard": True}, {"dial": 8}, {"pool": "odd"}):
        for ours, theirs in zip(onnx.route(QUERIES, **options), reference.route(QUERIES, **options), strict=True):
            assert ours.model == theirs.model
            assert ours.quality == pytest.approx(theirs.quality, abs=1e-5)
            assert ours.domains.keys() == theirs.domains.keys()
            assert ours.reasons is not None and theirs.reasons is not None
            assert sum(each.logit for each in ours.reasons.axes) == pytest.approx(
                sum(each.logit for each in theirs.reasons.axes), abs=1e-4
            )


def test_decisions_in_a_large_pool_with_unsure_models_are_torchs(
    tiny_router: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = tuple(make_profile(f"new-{seed}", seed=seed) for seed in range(300))
    write_added_models(AddedModels(profiles), tiny_router / LAYOUT.added_models)
    monkeypatch.setattr(shortlist, "INDEX_FROM", 100)
    for kind in ("exact", "flat", "ivf"):
        routers = [Router.from_pretrained(tiny_router, index=kind, backend=name) for name in ("onnx", "torch")]
        assert isinstance(routers[0].network, OnnxNetwork) and isinstance(routers[1].network, RouterNetwork)
        for options in ({}, {"attitude": "optimistic"}, {"dial": [0, 5, 10, 3]}, {"images": True}):
            ours, theirs = (router.route(QUERIES, top=3, **options) for router in routers)
            assert [each.model for each in ours] == [each.model for each in theirs]
            assert [each.quality for each in ours] == pytest.approx([each.quality for each in theirs], abs=1e-5)


def test_eight_bits_are_close(tiny_router: Path) -> None:
    int8, reference = (
        Router.from_pretrained(tiny_router, backend=name).predict(QUERIES) for name in ("onnx-int8", "torch")
    )
    np.testing.assert_allclose(int8.quality, reference.quality, rtol=0, atol=0.05)
    assert not np.array_equal(int8.quality, reference.quality)


def test_bfloat16_is_close_and_leaves_the_weights_alone(tiny_router: Path, tmp_path: Path) -> None:
    rounded, reference = (Router.from_pretrained(tiny_router, backend=name) for name in ("torch-bf16", "torch"))
    one, other = rounded.predict(QUERIES).quality, reference.predict(QUERIES).quality
    torch.testing.assert_close(one, other, rtol=0, atol=0.05)
    assert one.dtype == torch.float32 and not torch.equal(one, other)
    states = (router.encoder.state_dict() for router in (rounded, reference))
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))


def test_a_router_by_onnx_saves_the_same_checkpoint(tiny_router: Path, tmp_path: Path) -> None:
    for name in ("onnx", "torch"):
        Router.from_pretrained(tiny_router, backend=name).save_pretrained(tmp_path / name)
    files = [file.relative_to(tmp_path / "onnx") for file in (tmp_path / "onnx").rglob("*") if file.is_file()]
    assert len(files) > 10
    assert all((tmp_path / "onnx" / each).read_bytes() == (tmp_path / "torch" / each).read_bytes() for each in files)


def test_saving_weights_that_changed_since_is_refused(tiny_router: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    router = Router.from_pretrained(tiny_router, backend="onnx")
    shutil.copy(tiny_encoder / "model.safetensors", tiny_router / "encoder")
    with pytest.raises(CheckpointError, match="changed since the encoder was read from it: load it again"):
        router.save_pretrained(tmp_path / "again")


def test_altered_weights_are_refused_whatever_computes_them(tiny_router: Path) -> None:
    file = tiny_router / "encoder" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    for name in ("onnx", "onnx-int8", "torch"):
        with pytest.raises(CheckpointError, match=r"encoder/model\.safetensors was altered"):
            load_checkpoint(tiny_router, backend=name)


def test_as_torch_reads_the_weights_again_only_where_there_are_none(
    tiny_router: Path, tiny_checkpoint: Checkpoint
) -> None:
    assert as_torch(tiny_checkpoint.encoder) is tiny_checkpoint.encoder
    onnx = load_checkpoint(tiny_router, backend="onnx").encoder
    again = as_torch(onnx)
    assert (again.max_tokens, again.layers) == (100, (1, 2))
    np.testing.assert_allclose(again.encode(QUERIES).numpy(), onnx.encode(QUERIES), rtol=0, atol=1e-5)


def test_a_checkpoint_whose_heads_are_made_for_another_encoder_is_refused(tiny_router: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(tiny_router, backend="onnx")
    narrow = QueryEncoder.from_pretrained(tiny_router / "encoder", 100)
    with pytest.raises(
        CheckpointError, match="the encoder makes 12 numbers in an embedding, but the heads are made for 24"
    ):
        Router(replace(checkpoint, encoder=narrow)).save_pretrained(tmp_path / "odd")
