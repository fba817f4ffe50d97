"""Packing to 4 and 8 bits: errors of the numbers, what returns to the bit, and which files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load, save

from router.encoding.backend import load_encoder
from router.encoding.onnx_export import write_graphs
from router.encoding.sentence_folder import read_folder, weights_file
from router.encoding.torch_encoder import QueryEncoder
from router.encoding.transformer import read_weights
from router.errors import CheckpointError
from router.onnx.packed_weights import METADATA, PACKED_WEIGHTS, TABLE_ROWS, pack, unpack
from router.onnx.weights import StoredWeights

TABLE, MATRIX, BIAS, LOW = "embeddings.word.weight", "layer.0.weight", "layer.0.bias", "embeddings.position.weight"
ROWS = TABLE_ROWS + 1
TEXTS = ["prove that two is prime", "write python code", "who?"]


@pytest.fixture(scope="module")
def tensors() -> dict[str, Any]:
    """A table with blocks of zeros, of numbers too small for float16, and of its largest; and what gets more bits."""
    generator = np.random.default_rng(0)
    made = {
        TABLE: generator.normal(0, 0.05, (ROWS, 64)),
        MATRIX: generator.normal(0, 0.02, (7, 33)),
        LOW: generator.normal(0, 1, (5, 64)),
        BIAS: generator.normal(0, 1, 7),
    }
    made[TABLE][:3, :32] = np.array([0, 1e-7, -65504.0])[:, None]
    made[TABLE][3:6] *= np.array([1e-5, 1e-7, 1e5])[:, None]
    made[MATRIX][:4] *= np.array([0, 1e-5, 1e-7, 1e5])[:, None]
    return {name: tensor.astype(np.float32) for name, tensor in made.items()}


@pytest.fixture(scope="module")
def packed(tensors: dict[str, Any]) -> bytes:
    return pack(tensors)


def ggml_blocks(numbers: np.ndarray) -> bytes:
    """Q4_0 as ggml's reference code makes it of one row: for each block a scale, then 16 bytes."""
    blocks = b""
    for block in numbers.reshape(-1, 32).astype(np.float32):
        largest = block[np.abs(block).argmax()]
        scale = np.float32(largest / -8)
        inverse = np.float32(1 / scale) if scale else np.float32(0)
        whole = np.minimum(15, (block * inverse + np.float32(8.5)).astype(np.int8)).astype(np.uint8)
        blocks += np.float16(scale).tobytes() + (whole[:16] | whole[16:] << 4).tobytes()
    return blocks


def test_each_number_is_at_most_half_a_step_away_and_the_rest_is_float16(tensors: dict, packed: bytes) -> None:
    found = load(unpack(packed))
    assert {tensor.dtype for tensor in found.values()} == {np.dtype(np.float16)}
    assert np.array_equal(found[BIAS], tensors[BIAS].astype(np.float16))
    for name, shape, steps in ((TABLE, (ROWS, 2, 32), 7), (MATRIX, (7, 1, 33), 127), (LOW, (5, 1, 64), 127)):
        before = tensors[name].reshape(shape)
        largest = np.abs(before).max(axis=2, keepdims=True)
        error = np.abs(found[name].astype(np.float32).reshape(shape) - before)
        assert (error <= largest / steps * 1.001 + 1e-5).all(), name
        assert np.median(error) < np.median(largest) / steps / 3


def test_the_file_takes_four_and_a_half_and_eight_bits(tensors: dict, packed: bytes) -> None:
    stored = load(packed)
    bits = {name: 8 * (stored[name].nbytes + stored[name + ".scale"].nbytes) / tensors[name].size
            for name in (TABLE, MATRIX)}  # fmt: skip
    assert bits == {TABLE: 4.5, MATRIX: 8 + 16 / 33}


def test_what_is_unpacked_packs_to_the_same_bytes(packed: bytes) -> None:
    assert pack(load(unpack(packed))) == packed
    assert unpack(packed) == unpack(pack(dict(reversed(load(unpack(packed)).items()))))


def test_a_table_is_stored_in_the_blocks_of_ggml_and_what_came_from_them_exactly(tensors: dict) -> None:
    rows = tensors[TABLE][6:12].astype(np.float16)  # numbers that float16 and its scales hold to full precision
    table = np.zeros((ROWS, 64), np.float32)
    table[:6] = rows
    stored = load(pack({TABLE: table}))
    ours = np.concatenate([stored[TABLE + ".scale"].view(np.uint8).reshape(ROWS, 2, 2), stored[TABLE]], axis=2)
    assert ours[:6].tobytes() == ggml_blocks(rows)
    blocks = np.frombuffer(ggml_blocks(rows), np.dtype([("scale", "<f2"), ("halves", "u1", 16)]))
    whole = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32) - 8
    table[:6] = (whole * blocks["scale"].astype(np.float32)[:, None]).reshape(6, 64)
    assert np.array_equal(load(unpack(pack({TABLE: table})))[TABLE], table.astype(np.float16))


def test_the_unpacked_file_is_laid_out_by_name_whatever_safetensors_does(packed: bytes) -> None:
    content = unpack(packed)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header.pop("__metadata__") == {"format": "pt"}
    assert list(header) == sorted([TABLE, MATRIX, LOW, BIAS])
    begins = [entry["data_offsets"][0] for entry in header.values()]
    assert begins == sorted(begins) and begins[0] == 0 and int.from_bytes(content[:8], "little") % 8 == 0


# Whole encoders


@pytest.fixture
def encoder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """The folder of the tiny encoder, packed."""
    QueryEncoder.from_pretrained(tiny_encoder).save_pretrained(tmp_path / "packed", packed=True)
    return tmp_path / "packed"


def test_a_packed_encoder_is_nearly_the_one_before_and_unpacks_to_itself(
    encoder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    assert weights_file(encoder).name == PACKED_WEIGHTS and read_folder(encoder)[0].packed
    loaded, before = (QueryEncoder.from_pretrained(folder) for folder in (encoder, tiny_encoder))
    assert ((loaded.encode(TEXTS) * before.encode(TEXTS)).sum(dim=1) > 0.999).all()
    loaded.save_pretrained(tmp_path / "plain")
    assert not read_folder(tmp_path / "plain")[0].packed
    plain = QueryEncoder.from_pretrained(tmp_path / "plain")
    assert plain.encode(TEXTS).equal(loaded.encode(TEXTS))
    plain.save_pretrained(encoder)  # over the packed one
    assert weights_file(encoder).name == "model.safetensors"


def test_its_graphs_compute_the_unpacked_weights(encoder: Path) -> None:
    write_graphs(encoder, 256, (2,))
    exact = QueryEncoder.from_pretrained(encoder).encode(TEXTS).numpy()
    np.testing.assert_allclose(load_encoder(encoder, {}, "onnx", "cpu").encode(TEXTS), exact, rtol=0, atol=1e-5)
    rounded = load_encoder(encoder, {}, "onnx-int8", "cpu").encode(TEXTS)
    assert 0 < np.abs(rounded - exact).max() < 0.1 and (rounded * exact).sum(axis=1).min() > 0.99


# Mistakes


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e5])
def test_numbers_that_are_not_finite_in_float16_are_refused(number: float) -> None:
    with pytest.raises(CheckpointError, match=r"the weights odd are not finite numbers in float16"):
        pack({"odd": np.array([[1.0, number]], np.float32)})


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_file_cut_short_is_one_clear_error(encoder: Path, cut: int) -> None:
    file = encoder / PACKED_WEIGHTS
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(SafetensorError):
        unpack(file.read_bytes())
    with pytest.raises(CheckpointError, match=r"model-packed\.safetensors is not a whole safetensors file"):
        read_weights(encoder)


I8, U8, SCALES = np.zeros((3, 4), np.int8), np.zeros((3, 2, 16), np.uint8), np.zeros(3, np.float16)


@pytest.mark.parametrize(
    ("stored", "metadata", "message"),
    [
        ({"a": SCALES}, {"format": "pt"}, r"its metadata is \{'format': 'pt'\}, that of packed weights is \{'"),
        ({"a": SCALES}, None, "its metadata is None"),
        ({"a": I8}, METADATA, r"its tensor a is not packed: int8 \(3, 4\)"),
        ({"a": U8[..., :8], "a.scale": SCALES}, METADATA, r"its tensor a is not packed: uint8 \(3, 2, 8\)"),
        ({"a": SCALES, "a.scale": SCALES}, METADATA, "its tensor a is not packed: float16"),
        ({"a": np.zeros(3)}, METADATA, "its tensor a is not packed, it has the type F64"),
        ({"a": I8, "a.scale": SCALES[:2]}, METADATA, r"its tensor a has scales \(2,\) for \(3, 4\)"),
        ({"a": U8, "a.scale": SCALES}, METADATA, r"its tensor a has scales \(3,\) for \(3, 2, 16\)"),
        ({"a": I8, "a.scale": I8[:, 0]}, METADATA, "its tensor a has scales"),
    ],
)
def test_what_pack_did_not_write_is_refused(tmp_path: Path, stored: Any, metadata: Any, message: str) -> None:
    (tmp_path / PACKED_WEIGHTS).write_bytes(save(stored, metadata))
    with pytest.raises(CheckpointError, match=rf"model-packed\.safetensors: {message}"):
        StoredWeights.read(tmp_path / PACKED_WEIGHTS)


def test_scales_that_are_not_finite_are_reported_as_such_weights_are(tmp_path: Path) -> None:
    odd = np.array([np.inf, np.nan, 6e4], np.float16)
    stored = {"a": I8 + 5, "a.scale": odd, "b": U8, "b.scale": np.stack([odd, odd], axis=1), "c": odd[2:]}
    (tmp_path / PACKED_WEIGHTS).write_bytes(save(stored, METADATA))
    assert StoredWeights.read(tmp_path / PACKED_WEIGHTS).not_finite() == ["a", "b"]


def test_a_folder_with_both_files_is_refused(encoder: Path) -> None:
    (encoder / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"holds both model\.safetensors and model-packed\.safetensors: delete"):
        QueryEncoder.from_pretrained(encoder)
