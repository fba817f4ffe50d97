"""Packed weights: matrices in 8 bits and the token table in 4, as a safetensors file a quarter the size of float16.

`unpack` gives the content of an ordinary safetensors file, so nothing that reads weights knows of packing. Each row, or
block of a row of the table, has a scale: its number of largest magnitude becomes the lowest integer, a power of two.
So the scale is found again exactly, and what was unpacked packs to the same bytes. The table's blocks are those of
Q4_0 of ggml (https://github.com/ggml-org/ggml): a table that came from it is stored exactly. Pure numpy.
Axes: R rows, I numbers of a row, N blocks of a row.
"""

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import deserialize
from safetensors import numpy as safetensors

from router.errors import CheckpointError

PACKED_WEIGHTS = "model-packed.safetensors"
BLOCK = 32  # numbers of the table that share a scale: the low halves of 16 bytes, then the high halves
TABLE_ROWS = 10_000  # a table of more rows than this gets 4 bits
METADATA = {"weights": "packed in 4 and 8 bits"}
KINDS = {"F16": "<f2", "I8": "i1", "U8": "u1"}  # the types in a packed file, by safetensors' names
SCALE = ".scale"  # ends the name of a packed tensor's scales
ROWS_AT_ONCE = 1024  # unpacked together: they stay in the processor's cache


def pack(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The packed file of floating-point tensors by name, the same bytes for the same numbers.

    Tables get 4 bits (R, N, 16) and scales (R, N), other matrices 8 bits (R, I) and scales (R,); the rest is float16.
    Raises CheckpointError for numbers that are not finite in float16.
    """
    stored: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        with np.errstate(over="ignore"):
            half = tensor.astype("<f2")
        if not np.isfinite(half).all():
            raise CheckpointError(f"the weights {name} are not finite numbers in float16: they cannot be packed")
        if half.ndim != 2:
            stored[name] = half
        elif "embeddings" in name and len(half) > TABLE_ROWS and half.shape[1] % BLOCK == 0:
            whole, stored[name + SCALE] = _scaled(half.reshape(len(half), -1, BLOCK), 8)
            low, high = np.split((whole + 8).astype(np.uint8), 2, axis=2)
            stored[name] = low | high << 4
        else:
            stored[name], stored[name + SCALE] = _scaled(half, 128)
    return safetensors.save(stored, METADATA)


def _scaled(numbers: NDArray[Any], lowest: int) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Integers from -`lowest` to `lowest` - 1 and scales of the last axis, whose products are nearest to `numbers`."""
    numbers = numbers.astype(np.float32)
    largest = np.take_along_axis(numbers, np.abs(numbers).argmax(axis=-1, keepdims=True), axis=-1)
    exact = largest / np.float32(-lowest)
    scale = exact.astype("<f2")
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.where(scale == 0, 0, np.rint(numbers / exact)).clip(-lowest, lowest - 1)
    return whole.astype(np.int8), np.abs(scale, where=scale == 0, out=scale)[..., 0]  # 0 without a sign


def unpack(packed: bytes) -> bytes:
    """The content of a safetensors file of the same tensors in float16, ordered by name.

    Raises SafetensorError for bytes that are cut short, CheckpointError for a file that `pack` did not write.
    """
    entries = deserialize(packed)
    metadata = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")]).get("__metadata__")
    if metadata != METADATA:
        raise CheckpointError(
            f"its metadata is {metadata}, that of packed weights is {METADATA}: save the encoder anew"
        )
    stored = {name: _array(name, entry) for name, entry in entries}
    scales = {name: stored.pop(name + SCALE) for name in list(stored) if name + SCALE in stored}
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(stored):
        shape = _shape(name, stored[name], scales.get(name))
        begin, end = end, end + 2 * int(np.prod(shape))
        described[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    content = io.BytesIO()  # its bytes are taken over below, not copied
    content.write(len(text).to_bytes(8, "little") + text)
    content.writelines(part for name in sorted(stored) for part in _halves(stored.pop(name), scales.get(name)))
    return content.getvalue()


def _array(name: str, entry: Mapping[str, Any]) -> NDArray[Any]:
    """A tensor as safetensors describes it; CheckpointError for a type that `pack` does not write."""
    if entry["dtype"] not in KINDS:
        raise CheckpointError(
            f"its tensor {name} is not packed, it has the type {entry['dtype']}: save the encoder anew"
        )
    return np.frombuffer(entry["data"], KINDS[entry["dtype"]]).reshape(entry["shape"])


def _shape(name: str, tensor: NDArray[Any], scale: NDArray[Any] | None) -> list[int]:
    """The shape of a tensor after unpacking; CheckpointError where its parts do not fit each other."""
    is_table = scale is not None and tensor.dtype == np.uint8 and tensor.ndim == 3 and tensor.shape[2] == BLOCK // 2
    fits = {"float16": scale is None, "int8": scale is not None and tensor.ndim == 2, "uint8": is_table}
    if not fits[str(tensor.dtype)]:
        raise CheckpointError(f"its tensor {name} is not packed: {tensor.dtype} {tensor.shape}; save the encoder anew")
    if scale is not None and (scale.dtype != "<f2" or scale.shape != tensor.shape[:-1]):
        raise CheckpointError(f"its tensor {name} has scales {scale.shape} for {tensor.shape}: save the encoder anew")
    return [len(tensor), tensor.shape[1] * BLOCK] if is_table else list(tensor.shape)


def _halves(tensor: NDArray[Any], scale: NDArray[Any] | None) -> Iterator[bytes]:
    """The tensor's numbers in float16, some rows at a time."""
    if scale is None:
        yield tensor.tobytes()
        return
    products = _products() if tensor.dtype == np.uint8 else None
    for start in range(0, len(tensor), ROWS_AT_ONCE):
        whole, own = tensor[start : start + ROWS_AT_ONCE], scale[start : start + ROWS_AT_ONCE, ..., None]
        if products is None:
            with np.errstate(over="ignore", invalid="ignore"):  # as in `_products`
                yield (whole * own.astype(np.float32)).astype("<f2").tobytes()
        else:
            place = own.view("<u2").astype(np.intp) << 4
            yield products[np.concatenate([place + (whole & 15), place + (whole >> 4)], axis=2)].tobytes()


def _products() -> NDArray[np.float16]:
    """The number of each scale and each 4 bits, at 16 times the scale's own 16 bits plus the 4."""
    scale = np.arange(1 << 16, dtype=np.uint16).view("<f2").astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite scales are reported by who reads the file
        return (scale[:, None] * np.arange(-8, 8, dtype=np.float32)).astype("<f2").ravel()
