from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from router.encoding.onnx_encoder import OnnxEncoder
from router.encoding.onnx_export import write_graphs
from router.encoding.torch_encoder import QueryEncoder
from router.errors import CheckpointError, QueryError, UsageError
from router.onnx import session as onnx_session
from router.onnx.session import onnxruntime_problem

REPOSITORY = Path(__file__).parents[3]
SHIPPED = REPOSITORY / "checkpoints" / "routemix" / "encoder"
TEXTS = ["prove that two is prime", "", "wrte pyhton code", "who?", "where is the money of 7 cells", "a" * 300]
CLOSE = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module")
def served(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder with its graphs. Do not write to it."""
    folder = Path(shutil.copytree(tiny_encoder, tmp_path_factory.mktemp("served") / "encoder"))
    write_graphs(folder, 512, (2,))
    return folder


@pytest.fixture
def folder(served: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(served, tmp_path / "encoder"))


def both(folder: Path, **settings: Any) -> tuple[OnnxEncoder, QueryEncoder]:
    return OnnxEncoder.from_pretrained(folder, **settings), QueryEncoder.from_pretrained(folder, **settings)


def rewrite(folder: Path, change: object) -> None:
    """Replace the folder's weights by what `change` makes of them."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})  # type: ignore[operator]


# The same embeddings as torch's


@pytest.mark.parametrize("layers", [(2, 0), (1,), (0,)])
def test_embeddings_are_torchs(folder: Path, layers: tuple[int, ...]) -> None:
    write_graphs(folder, 512, layers)
    onnx, reference = both(folder, max_tokens=20, layers=layers)
    for batch_size in (1, 4):
        embeddings = onnx.encode(TEXTS, batch_size)
        assert embeddings.dtype == np.float32
        assert embeddings.shape == (6, onnx.dimension) == (6, reference.dimension)
        np.testing.assert_allclose(embeddings, reference.encode(TEXTS, batch_size).numpy(), **CLOSE)


def test_it_reads_what_torch_reads(served: Path) -> None:
    onnx, reference = both(served, max_tokens=12)
    assert onnx.tokenize(TEXTS) == reference.tokenize(TEXTS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_disk_is_widened_exactly(tiny_encoder: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    QueryEncoder.from_pretrained(tiny_encoder).save_pretrained(tmp_path, dtype)
    write_graphs(tmp_path, 256, (2,))
    onnx, reference = both(tmp_path)
    np.testing.assert_allclose(onnx.encode(TEXTS), reference.encode(TEXTS).numpy(), **CLOSE)
    again = OnnxEncoder.from_pretrained(tmp_path, int8=True).encode(TEXTS)
    assert (again * reference.encode(TEXTS).numpy()).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("activation", ["gelu_new", "gelu_pytorch_tanh"])
def test_the_other_activations_are_torchs(folder: Path, activation: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": activation}))
    write_graphs(folder, 512, (2,))
    onnx, reference = both(folder)
    np.testing.assert_allclose(onnx.encode(TEXTS), reference.encode(TEXTS).numpy(), **CLOSE)


def test_first_token_and_no_normalising_are_torchs(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    write_graphs(folder, 512, (1, 2))
    onnx, reference = both(folder, layers=(1, 2))
    np.testing.assert_allclose(onnx.encode(TEXTS), reference.encode(TEXTS).numpy(), **CLOSE)


def test_the_shipped_encoder_is_torchs_at_every_length() -> None:
    onnx, reference = both(SHIPPED, max_tokens=128, layers=(4, 7, 9))
    texts = ["hi", "Is this indemnity clause enforceable in Delaware?", "Prove it. " * 30, "the end " * 400]
    assert [len(ids) for ids in onnx.tokenize(texts)] == [3, 17, 92, 128]
    np.testing.assert_allclose(onnx.encode(texts), reference.encode(texts).numpy(), **CLOSE)
    int8 = OnnxEncoder.from_pretrained(SHIPPED, 128, layers=(4, 7, 9), int8=True).encode(texts)
    assert (int8 * onnx.encode(texts)).sum(axis=1).min() >= 3 * 0.9995  # three layers, each of length one


def test_nothing_gives_no_rows(served: Path) -> None:
    assert OnnxEncoder.from_pretrained(served).encode([]).shape == (0, 12)


# Eight bits


def test_with_eight_bits_an_embedding_does_not_depend_on_the_others(served: Path) -> None:
    encoder = OnnxEncoder.from_pretrained(served, int8=True)
    together = encoder.encode(TEXTS)
    assert np.array_equal(together, np.concatenate([encoder.encode([text]) for text in TEXTS]))
    exact = QueryEncoder.from_pretrained(served).encode(TEXTS).numpy()
    assert 0 < np.abs(together - exact).max() < 0.1
    assert (together * exact).sum(axis=1).min() > 0.99


def test_it_gives_the_same_numbers_again_whatever_the_threads(served: Path) -> None:
    for int8 in (False, True):
        first, second = (OnnxEncoder.from_pretrained(served, int8=int8, threads=n) for n in (1, 2))
        assert np.array_equal(first.encode(TEXTS), first.encode(TEXTS))
        assert np.array_equal(first.encode(TEXTS), second.encode(TEXTS))


# Files


def test_nothing_is_written_beside_the_weights(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    OnnxEncoder.from_pretrained(folder, int8=True).encode(TEXTS)
    assert sorted(folder.rglob("*")) == before


def test_weights_behind_a_link_are_read_as_in_the_hubs_cache(folder: Path, tmp_path: Path) -> None:
    expected = OnnxEncoder.from_pretrained(folder).encode(TEXTS)
    (tmp_path / "blobs").mkdir()
    file = folder / "model.safetensors"
    file.rename(tmp_path / "blobs" / "ab12")
    file.symlink_to(os.path.relpath(tmp_path / "blobs" / "ab12", folder))
    assert np.array_equal(OnnxEncoder.from_pretrained(folder).encode(TEXTS), expected)


def test_a_file_that_changes_later_changes_nothing(folder: Path) -> None:
    encoder = OnnxEncoder.from_pretrained(folder)
    expected = encoder.encode(TEXTS)
    (folder / "model.safetensors").write_bytes(b"")
    assert np.array_equal(encoder.encode(TEXTS), expected)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: b"",
        lambda content: (1 << 40).to_bytes(8, "little") + content[8:],
        lambda content: content.replace(b'"data_offsets":[0', b'"data_offsets":[9'),
    ],
)
def test_a_damaged_file_is_one_clear_error(folder: Path, damage: object) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not a whole safetensors file"):
        OnnxEncoder.from_pretrained(folder)


def test_missing_weights_are_an_error(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="weights must be one safetensors file"):
        OnnxEncoder.from_pretrained(folder)


def test_a_broken_graph_is_one_clear_error(folder: Path) -> None:
    (folder / "graph.onnx").write_bytes((folder / "graph.onnx").read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="onnxruntime cannot open the graph"):
        OnnxEncoder.from_pretrained(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_named(folder: Path, dtype: torch.dtype, number: float) -> None:
    name = "encoder.layer.0.attention.self.key.bias"

    def break_one(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        state = {key: tensor.to(dtype) for key, tensor in state.items()}
        state[name][3] = number
        return state

    rewrite(folder, lambda state: {key: tensor.to(dtype) for key, tensor in state.items()})
    write_graphs(folder, 512, (2,))
    rewrite(folder, break_one)
    with pytest.raises(CheckpointError, match=rf"not finite numbers: \['{name}'\]"):
        OnnxEncoder.from_pretrained(folder)


# Mistakes


def test_without_onnxruntime_it_says_what_to_install(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(onnx_session, "version", missing)
    with pytest.raises(UsageError, match=r"onnxruntime is not installed; pip install 'onnxruntime>=1\.24\.1'"):
        OnnxEncoder.from_pretrained(served)


@pytest.mark.parametrize(("found", "fits"), [("1.23.2", False), ("1.24.1", True), ("1.24.1rc1", True), ("2.0", True)])
def test_an_old_onnxruntime_is_refused(monkeypatch: pytest.MonkeyPatch, found: str, fits: bool) -> None:
    monkeypatch.setattr(onnx_session, "version", lambda name: found)
    problem = onnxruntime_problem()
    assert problem is None if fits else f"onnxruntime {found} is too old, 1.24.1 is needed" in str(problem)


def test_settings_and_texts_are_checked_as_by_torch(served: Path) -> None:
    with pytest.raises(UsageError, match="max_tokens must lie between 4 and 512"):
        OnnxEncoder.from_pretrained(served, max_tokens=3)
    with pytest.raises(UsageError, match=r"pool the layers \[2\], got \[1\]: save the checkpoint anew"):
        OnnxEncoder.from_pretrained(served, layers=[1])
    encoder = OnnxEncoder.from_pretrained(served)
    with pytest.raises(UsageError, match=r"got one string: write \[text\]"):
        encoder.encode("prove")
    with pytest.raises(QueryError, match="not a string of valid Unicode"):
        encoder.encode(["\ud800"])


# Several threads


def test_a_batch_that_comes_while_another_is_computed_has_a_session_of_its_own_once_they_are_shared(
    folder: Path,
) -> None:
    encoder = OnnxEncoder.from_pretrained(folder, threads=2)
    alone = encoder.encode(TEXTS)
    used: list[str] = []

    def seen(name: str, session: Any) -> Any:
        def run(*given: Any) -> Any:
            used.append(name)
            if len(used) % 2:  # another batch comes while this one is computed
                np.testing.assert_allclose(encoder.encode(TEXTS[::-1]), alone[::-1], **CLOSE)
            return session.run(*given)

        return SimpleNamespace(run=run)

    encoder.session = seen("first", encoder.session)
    np.testing.assert_allclose(encoder.encode(TEXTS), alone, **CLOSE)
    assert used == ["first", "first"]
    encoder.add_session()
    assert encoder._beside is not None and encoder._beside.get_session_options().intra_op_num_threads == 1
    encoder._beside = seen("beside", encoder._beside)
    np.testing.assert_allclose(encoder.encode(TEXTS), alone, **CLOSE)
    np.testing.assert_allclose(encoder.encode(TEXTS), alone, **CLOSE)
    assert used[2:] == ["first", "beside"] * 2


def test_an_encoder_whose_batch_failed_is_not_taken_for_busy(folder: Path) -> None:
    encoder = OnnxEncoder.from_pretrained(folder)
    encoder.add_session()
    with pytest.raises(Exception, match="Unexpected input data type"):
        encoder.forward(np.zeros((1, 2), np.float32), np.ones((1, 2), np.int64))  # type: ignore[arg-type]
    encoder._beside = SimpleNamespace(run=None)
    assert encoder.encode(TEXTS).shape == (6, encoder.dimension)


def test_weights_that_changed_are_not_shared(folder: Path) -> None:
    encoder = OnnxEncoder.from_pretrained(folder)
    rewrite(folder, lambda state: {name: value * 2 for name, value in state.items()})
    with pytest.raises(CheckpointError, match="changed since the encoder was read from it: load it again"):
        encoder.add_session()
