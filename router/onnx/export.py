"""ONNX export: a torch module to a graph whose weights lie in a safetensors file, with `torch.onnx`.

A graph holds operators and no weights: each weight is external data, the place of its bytes in the file. So a graph
depends on the architecture and on the file's layout, not on values, and torch and onnxruntime share one set of weights.
It knows no architecture. Axes: I inputs and O outputs of a linear map.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import onnx_ir as ir
import torch
from onnx_ir.passes import common as passes
from torch import Tensor, nn

from router.onnx.quantization import BLOCK, INTEGERS, places
from router.onnx.weights import Stored

OPSET = 21
TORCH = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}  # by safetensors' names
ONNX = {"F16": ir.DataType.FLOAT16, "BF16": ir.DataType.BFLOAT16, "F32": ir.DataType.FLOAT}
_FUSED = "com.microsoft"  # onnxruntime's own operators


def export_graph(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    weights: Mapping[str, Stored],
    file: str,
    outputs: Sequence[str],
    axes: Sequence[int] = (0, 1),
) -> ir.Model:
    """The graph of `module(*inputs, stored)`, where `stored` is a tuple of the `weights` in their own types.

    The `axes` of the inputs may have any length. Weights that the outputs do not depend on are left out. No name in
    `outputs` may be that of an operator: the exporter names values by operators.
    """
    given = tuple(torch.zeros(each.shape, dtype=TORCH[each.dtype]) for each in weights.values())
    free = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (*inputs.values(), given),
            dynamo=True,
            opset_version=OPSET,
            input_names=[*inputs, *weights],
            output_names=list(outputs),
            dynamic_shapes=(*[free for _ in inputs], tuple({} for _ in given)),
            verbose=False,
        )
    assert program is not None
    model = program.model
    for value in list(model.graph.inputs):
        stored = weights.get(value.name or "")
        if stored is not None:  # given as an input, so that the exporter's optimiser computed nothing with it
            model.graph.inputs.remove(value)
            if value.uses():
                _place(model, value, file, stored, ONNX[stored.dtype])
    _drop_reshapes(model)
    passes.RemoveUnusedNodesPass()(model)
    passes.ClearMetadataAndDocStringPass()(model)
    return model


def quantize_graph(model: ir.Model, weights: Mapping[str, Stored]) -> list[str]:
    """Multiply by 8-bit integers where `model` multiplies by a stored matrix; returns the names of these matrices.

    The integers and their scales are external data in the file `INTEGERS`, which `router.onnx.quantization` makes of
    the matrices in the order of the names. Level 4 rounds the activations to 8 bits too, each block of a token with its
    own scale.
    """
    graph, products = model.graph, list(_products(model))
    names = list(dict.fromkeys(name for _, name in products))  # layers may share a matrix
    factors = {}
    for name, (whole, scale) in zip(names, places([weights[name].shape for name in names]), strict=True):
        factors[name] = ir.Value(name=f"{name}.integers"), ir.Value(name=f"{name}.scale")
        _place(model, factors[name][0], INTEGERS, whole, ir.DataType.UINT8)
        _place(model, factors[name][1], INTEGERS, scale, ir.DataType.FLOAT)
    for node, name in products:
        outputs, inputs = weights[name].shape
        sizes = {"K": inputs, "N": outputs, "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
        product = ir.node("MatMulNBits", [node.inputs[0], *factors[name]], sizes, domain=_FUSED, version=1)
        ir.convenience.replace_nodes_and_values(graph, node, [node], [product], [node.outputs[0]], [product.outputs[0]])
    passes.RemoveUnusedNodesPass()(model)
    return names


def to_bytes(model: ir.Model) -> bytes:
    """The content of the graph's .onnx file, without the inferred shapes, which onnxruntime infers itself."""
    proto = ir.to_proto(model)
    del proto.graph.value_info[:]
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _place(model: ir.Model, value: ir.Value, file: str, stored: Stored, kind: ir.DataType) -> None:
    """Make `value` a weight of the graph, whose bytes lie in `file`."""
    shape = ir.Shape(stored.shape)
    value.const_value = ir.ExternalTensor(file, stored.offset, stored.length, kind, shape=shape, name=value.name or "")
    value.type, value.shape = None, None  # those of an input
    model.graph.register_initializer(value)


def _products(model: ir.Model) -> Iterator[tuple[ir.Node, str]]:
    """Each product of activations and a stored matrix (O, I), which is turned, and the matrix's name."""
    for node in model.graph:
        turned = _source(node.inputs[1], "Transpose") if node.op_type == "MatMul" else None
        matrix = _source(turned, "Cast") or turned  # widened, unless it is stored in float32
        if matrix is not None and matrix.name is not None and matrix.name in model.graph.initializers:
            yield node, matrix.name


def _drop_reshapes(model: ir.Model) -> None:
    """Take out what attention splits into heads and joins again: 5% of the time of 8 tokens."""
    for node in model.graph:
        source = _source(node.outputs[0], "Reshape")
        while source is not None and (before := _source(source, "Reshape")) is not None:
            source = before
        if source is None:
            continue
        node.replace_input_with(0, source)
        if source.shape is not None and source.shape == node.outputs[0].shape:
            ir.convenience.replace_all_uses_with(node.outputs[0], source)


def _source(value: ir.Value | None, kind: str) -> ir.Value | None:
    """What an operator of this kind made `value` of; None where another made it."""
    node = None if value is None else value.producer()
    return node.inputs[0] if node is not None and node.op_type == kind else None


@contextmanager
def _quiet() -> Iterator[None]:
    """A block without the exporter's advice, of which none is for users."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
