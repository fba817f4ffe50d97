"""Safetensors weights in memory, in numpy alone: the content of a file, and where each tensor lies in it.

safetensors' own numpy reader has no bfloat16 and gives no offsets, which an ONNX graph needs to refer to the file; it
still checks the file. Packed weights (`router.onnx.packed_weights`) are unpacked. It knows no network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from router.errors import CheckpointError
from router.onnx.packed_weights import PACKED_WEIGHTS, unpack

# The types of weights by safetensors' names: the integer type of the same size, and the bits of the exponent, which are
# all set in infinities and NaNs.
FLOATS = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000), "F64": ("<u8", 0x7FF << 52)}
_LENGTH = 8  # bytes of the header's length


@dataclass(frozen=True)
class Stored:
    """Type, shape and place of one tensor in the file."""

    dtype: str  # safetensors' name
    shape: tuple[int, ...]
    offset: int  # in bytes from the start of the file
    length: int  # in bytes


@dataclass(frozen=True)
class StoredWeights:
    """The content of a safetensors file, unpacked, read once; later changes of the file have no effect."""

    content: bytes
    tensors: dict[str, Stored]

    @classmethod
    def read(cls, file: Path) -> StoredWeights:
        """The file and its floating-point tensors; CheckpointError where it is missing, cut short or broken."""
        try:
            content = file.read_bytes()
            if file.name == PACKED_WEIGHTS:
                content = unpack(content)
            else:
                deserialize(content)  # raises where the header is broken or does not cover the file exactly
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is not a whole safetensors file: {error}") from error
        except CheckpointError as error:
            raise CheckpointError(f"{file}: {error}") from error
        start = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
        tensors = {}
        for name, entry in json.loads(content[_LENGTH:start]).items():
            if name != "__metadata__" and entry["dtype"] in FLOATS:
                begin, end = entry["data_offsets"]
                tensors[name] = Stored(entry["dtype"], tuple(entry["shape"]), start + begin, end - begin)
        return cls(content, tensors)

    def array(self, name: str) -> NDArray[np.float32]:
        """The tensor of this name in float32, which represents the types of 16 bits exactly."""
        stored = self.tensors[name]
        return widened(self._raw(stored), stored.dtype).reshape(stored.shape)

    def not_finite(self) -> list[str]:
        """Names of the tensors that hold infinities or NaNs."""
        wrong = []
        for name, stored in self.tensors.items():
            kind, exponent = FLOATS[stored.dtype]
            if np.any((np.frombuffer(self._raw(stored), kind) & exponent) == exponent):
                wrong.append(name)
        return wrong

    def _raw(self, stored: Stored) -> memoryview:
        return memoryview(self.content)[stored.offset : stored.offset + stored.length]


def widened(raw: bytes | memoryview, dtype: str) -> NDArray[np.float32]:
    """Little-endian floats of a type in `FLOATS`, as float32.

    >>> widened(bytes([0x00, 0x3C, 0x00, 0xC0]), "F16").tolist()
    [1.0, -2.0]
    >>> widened(bytes([0x80, 0x3F, 0x00, 0xC0]), "BF16").tolist()
    [1.0, -2.0]
    """
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]).astype(np.float32)
