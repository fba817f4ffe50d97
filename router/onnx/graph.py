"""ONNX model writer: graphs of operators as bytes, without the package `onnx` (31 MB with its dependencies).

ONNX is protocol buffers: each field is a key (number and wire type), then a varint, four bytes, or a length and bytes.
The field numbers are those of onnx.proto3. It writes only what a graph of operators needs, knows no operator and reads
nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from numpy.typing import NDArray

IR_VERSION = 10  # the version that onnx 1.16 writes for opset 21
OPSETS = {"": 21, "com.microsoft": 1}  # the second has onnxruntime's fused operators
FLOAT, UINT8, INT32, INT64, FLOAT16, BFLOAT16 = 1, 2, 6, 7, 10, 16  # TensorProto.DataType
_NUMPY = {"float32": FLOAT, "int64": INT64}
_EXTERNAL = 1  # TensorProto.DataLocation

Attribute = int | float | str | Sequence[int]


@dataclass(frozen=True)
class External:
    """The place of a tensor's bytes in a file."""

    file: str
    offset: int
    length: int


@dataclass
class Graph:
    """A graph under construction; nodes and tensors keep the order of the calls."""

    name: str
    inputs: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)
    nodes: list[bytes] = field(default_factory=list)
    tensors: dict[str, bytes] = field(default_factory=dict)

    def input(self, name: str, kind: int, axes: Sequence[str | int]) -> str:
        """Declare an input; a named axis may have any length."""
        self.inputs.append(_value(name, kind, axes))
        return name

    def output(self, name: str, kind: int, axes: Sequence[str | int]) -> str:
        """Declare an output, which must be the output of a node."""
        self.outputs.append(_value(name, kind, axes))
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Attribute) -> str:
        """Append an operator with one output and return its name; an empty name in `inputs` omits that input."""
        self._append(kind, inputs, [output], domain, attributes)
        return output

    def split(self, value: str, parts: Sequence[str]) -> Sequence[str]:
        """Cut the last axis of `value` into equal `parts`."""
        self._append("Split", [value], parts, "", {"axis": -1, "num_outputs": len(parts)})
        return parts

    def _append(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str, attributes: dict[str, Attribute]
    ) -> None:
        parts = [_bytes(1, each) for each in inputs] + [_bytes(2, each) for each in outputs]
        parts += [_bytes(3, outputs[0]), _bytes(4, kind)]
        parts += [_bytes(5, _attribute(key, value)) for key, value in attributes.items()]
        self.nodes.append(b"".join([*parts, _bytes(7, domain)]))

    def constant(self, name: str, value: NDArray) -> str:
        """A small tensor inside the model, float32 or int64."""
        self.tensors[name] = _tensor(name, _NUMPY[value.dtype.name], value.shape) + _bytes(9, value.tobytes())
        return name

    def external(self, name: str, kind: int, shape: Sequence[int], place: External) -> str:
        """A tensor whose bytes, little-endian and row by row, lie in another file."""
        entries = {"location": place.file, "offset": str(place.offset), "length": str(place.length)}
        stored = b"".join(_bytes(13, _bytes(1, key) + _bytes(2, value)) for key, value in entries.items())
        self.tensors[name] = _tensor(name, kind, shape) + stored + _number(14, _EXTERNAL)
        return name

    def to_bytes(self) -> bytes:
        """The model as the content of an .onnx file."""
        groups = {1: self.nodes, 5: list(self.tensors.values()), 11: self.inputs, 12: self.outputs}
        graph = b"".join(_bytes(number, each) for number, group in groups.items() for each in group)
        opsets = b"".join(_bytes(8, _bytes(1, name) + _number(2, version)) for name, version in OPSETS.items())
        return _number(1, IR_VERSION) + _bytes(7, graph + _bytes(2, self.name)) + opsets


def _varint(value: int) -> bytes:
    """An integer as a varint: seven bits a byte, lowest first; negative ones as 64-bit two's complement.

    >>> _varint(1), _varint(300), len(_varint(-1))
    (b'\\x01', b'\\xac\\x02', 10)
    """
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _number(field_number: int, value: int) -> bytes:
    """A field with an integer."""
    return _varint(field_number << 3) + _varint(value)


def _bytes(field_number: int, value: bytes | str) -> bytes:
    """A field with a string, bytes or a nested message."""
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field_number << 3 | 2) + _varint(len(raw)) + raw


def _attribute(name: str, value: Attribute) -> bytes:
    """An AttributeProto: the value in the field of its type, and the type in field 20."""
    if isinstance(value, str):
        return _bytes(1, name) + _bytes(4, value) + _number(20, 3)
    if isinstance(value, float):
        return _bytes(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return _bytes(1, name) + _number(3, value) + _number(20, 2)
    return _bytes(1, name) + b"".join(_number(8, each) for each in value) + _number(20, 7)


def _tensor(name: str, kind: int, shape: Sequence[int]) -> bytes:
    """A TensorProto without its data."""
    return b"".join(_number(1, size) for size in shape) + _number(2, kind) + _bytes(8, name)


def _value(name: str, kind: int, axes: Sequence[str | int]) -> bytes:
    """A ValueInfoProto of a tensor."""
    dimensions = [_bytes(2, each) if isinstance(each, str) else _number(1, each) for each in axes]
    shape = b"".join(_bytes(1, each) for each in dimensions)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape)))
