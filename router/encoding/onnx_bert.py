"""BERT and its pooling as an ONNX graph: what `router.encoding.bert` computes, for onnxruntime.

The graph takes a few kB. Its weights are external data in the checkpoint's safetensors file, in half precision as
stored and widened when a session starts, so that there is one set of weights. For int8 the matrices lie in a second
block of bytes, made anew each time. It knows no text and runs nothing.
Axes: B texts, T tokens, H hidden size, E embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from router.encoding.sentence_folder import ACTIVATIONS, parameter_name
from router.errors import CheckpointError
from router.onnx import graph as onnx
from router.onnx.graph import External, Graph
from router.onnx.quantization import BLOCK, quantize
from router.onnx.weights import StoredWeights

WEIGHTS, INTEGERS = "weights", "integers"  # the graph's names for the two files of its external data
IDS, MASK, EMBEDDING = "input_ids", "attention_mask", "embedding"
_FUSED = "com.microsoft"
_GELU = {"none": "BiasGelu", "tanh": "FastGelu"}  # by approximation
_KINDS = {"F16": onnx.FLOAT16, "BF16": onnx.BFLOAT16, "F32": onnx.FLOAT}


def build_graph(
    config: Mapping[str, Any],
    weights: StoredWeights,
    layers: Sequence[int],
    pooling: str = "mean",
    normalize: bool = True,
    int8: bool = False,
) -> tuple[bytes, bytes]:
    """The ONNX model and the bytes of its file `INTEGERS` (empty without `int8`); `WEIGHTS` is the safetensors file.

    Inputs are `IDS` int64 and `MASK` int32, both (B, T); the output is `EMBEDDING` float32 (B, E). The graph ends with
    the last pooled layer. Raises CheckpointError for weights that are missing or do not have the shape in `config`.
    """
    return _Builder(config, weights, int8).build(layers, pooling, normalize)


class _Builder:
    """Builder of one BERT graph."""

    def __init__(self, config: Mapping[str, Any], weights: StoredWeights, int8: bool) -> None:
        self.config = config
        self.weights = weights
        self.int8 = int8
        self.graph = Graph("bert")
        self.size = int(config["hidden_size"])
        self.epsilon = float(config.get("layer_norm_eps", 1e-12))
        self.integers = bytearray()
        self.names = {parameter_name(name): name for name in weights.tensors}

    def build(self, layers: Sequence[int], pooling: str, normalize: bool) -> tuple[bytes, bytes]:
        graph = self.graph
        graph.input(IDS, onnx.INT64, ("B", "T"))
        graph.input(MASK, onnx.INT32, ("B", "T"))
        if pooling == "mean":
            self._count_tokens()
        parts = {}
        for layer, hidden in enumerate(self._states(max(layers))):
            if layer in layers:
                parts[layer] = self._pool(hidden, pooling, normalize)
        graph.node("Concat", [parts[layer] for layer in layers], EMBEDDING, axis=-1)
        graph.output(EMBEDDING, onnx.FLOAT, ("B", self.size * len(layers)))
        return graph.to_bytes(), bytes(self.integers)

    def _states(self, last: int) -> Iterator[str]:
        """Hidden states (B, T, H) of the token embeddings, then of each layer up to `last`."""
        hidden = self._embeddings()
        yield hidden
        for layer in range(last):
            hidden = self._layer(f"encoder.layer.{layer}", hidden)
            yield hidden

    def _embeddings(self) -> str:
        graph, config = self.graph, self.config
        words = self._stored("embeddings.word_embeddings.weight", (config["vocab_size"], self.size))
        kind = self._float32("embeddings.token_type_embeddings.weight", (config.get("type_vocab_size", 2), self.size))
        places = self._float32("embeddings.position_embeddings.weight", (config["max_position_embeddings"], self.size))
        zero = self._int64("zero", [0])
        kind = graph.node("Slice", [kind, zero, self._int64("one", [1])], "first_kind")
        places = graph.node("Add", [places, kind], "places")
        length = graph.node("Shape", [IDS], "length", start=1, end=2)
        places = graph.node("Slice", [places, zero, length], "places_used")
        # The gathered rows are widened, not the table: a query reads few rows.
        words = graph.node("Cast", [graph.node("Gather", [words, IDS], "words")], "words_float32", to=onnx.FLOAT)
        summed = graph.node("Add", [words, places], "embeddings.sum")
        scale, shift = self._norm("embeddings.LayerNorm")
        return graph.node(
            "LayerNormalization", [summed, scale, shift], "embeddings.output", axis=-1, epsilon=self.epsilon
        )

    def _layer(self, name: str, hidden: str) -> str:
        graph, inner = self.graph, int(self.config["intermediate_size"])
        names = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        projected = self._product(hidden, names, self.size, self.size)
        biases = [self._float32(f"{each}.bias", (self.size,)) for each in names]
        bias = graph.node("Concat", biases, f"{name}.attention.bias", axis=0)
        parts = graph.split(projected, [f"{each}.projected" for each in names])
        context = graph.node(
            "MultiHeadAttention",
            [*parts, bias, MASK],
            f"{name}.attention.context",
            _FUSED,
            num_heads=int(self.config["num_attention_heads"]),
        )
        hidden = self._residual(f"{name}.attention.output", context, hidden, self.size)
        expanded = self._product(hidden, [f"{name}.intermediate.dense"], self.size, inner)
        bias = self._float32(f"{name}.intermediate.dense.bias", (inner,))
        gelu = _GELU[ACTIVATIONS[self.config.get("hidden_act", "gelu")]]
        active = graph.node(gelu, [expanded, bias], f"{name}.intermediate.active", _FUSED)
        return self._residual(f"{name}.output", active, hidden, inner)

    def _residual(self, name: str, values: str, residual: str, inner: int) -> str:
        """A linear map, added to the residual stream, then normalised."""
        product = self._product(values, [f"{name}.dense"], inner, self.size)
        scale, shift = self._norm(f"{name}.LayerNorm")
        bias = self._float32(f"{name}.dense.bias", (self.size,))
        # SkipLayerNormalization does both and takes three times as long; onnxruntime would turn Add into it.
        summed = self.graph.node("Sum", [product, residual, bias], f"{name}.sum")
        return self.graph.node(
            "LayerNormalization", [summed, scale, shift], f"{name}.normalised", axis=-1, epsilon=self.epsilon
        )

    def _product(self, values: str, names: Sequence[str], inputs: int, outputs: int) -> str:
        """`values` (B, T, inputs) times the weights (outputs, inputs) of each name, side by side on the last axis."""
        graph, output = self.graph, f"{names[0]}.product"
        if self.int8:
            matrices = [self.weights.array(self._find(f"{name}.weight", (outputs, inputs))) for name in names]
            whole, scale = quantize(np.concatenate(matrices))
            place = External(INTEGERS, len(self.integers), whole.nbytes)
            self.integers += whole.tobytes()
            matrix = graph.external(f"{names[0]}.integers", onnx.UINT8, whole.shape, place)
            factor = graph.constant(f"{names[0]}.scale", scale)
            sizes = {"K": inputs, "N": len(whole), "bits": 8, "block_size": BLOCK}
            # Level 4 rounds the activations to 8 bits too, each block of a token with its own scale.
            return graph.node("MatMulNBits", [values, matrix, factor], output, _FUSED, **sizes, accuracy_level=4)
        stored = [self._float32(f"{name}.weight", (outputs, inputs)) for name in names]
        joined = graph.node("Concat", stored, f"{names[0]}.joined", axis=0)
        turned = graph.node("Transpose", [joined], f"{names[0]}.turned", perm=[1, 0])
        return graph.node("MatMul", [values, turned], output)

    def _norm(self, name: str) -> tuple[str, str]:
        """Scale and shift of a layer's normalisation."""
        return self._float32(f"{name}.weight", (self.size,)), self._float32(f"{name}.bias", (self.size,))

    def _float32(self, name: str, shape: tuple[int, ...]) -> str:
        """The stored tensor in float32; onnxruntime computes what depends on weights alone once, at the start."""
        return self.graph.node("Cast", [self._stored(name, shape)], f"{name}.float32", to=onnx.FLOAT)

    def _stored(self, name: str, shape: tuple[int, ...]) -> str:
        """The stored tensor, in its own type."""
        stored = self.weights.tensors[self._find(name, shape)]
        return self.graph.external(name, _KINDS[stored.dtype], shape, External(WEIGHTS, stored.offset, stored.length))

    def _find(self, name: str, shape: tuple[int, ...]) -> str:
        """The name in the file of a parameter of this shape; CheckpointError where there is none."""
        found = self.names.get(name)
        if found is None or self.weights.tensors[found].shape != shape:
            got = "there is none" if found is None else f"it is {list(self.weights.tensors[found].shape)}"
            raise CheckpointError(f"the config.json of the encoder asks for weights {name} {list(shape)}, but {got}")
        return found

    def _pool(self, hidden: str, pooling: str, normalize: bool) -> str:
        """One vector (B, H) per text of hidden states (B, T, H)."""
        graph, name = self.graph, f"{hidden}.pooled"
        if pooling == "cls":
            pooled = graph.node("Gather", [hidden, self._int64("first", 0)], name, axis=1)
        else:
            kept = graph.node("Mul", [hidden, "attended"], f"{name}.kept")
            summed = graph.node("ReduceSum", [kept, "axis_of_tokens"], f"{name}.summed", keepdims=0)
            pooled = graph.node("Div", [summed, "count"], name)
        if not normalize:
            return pooled
        length = graph.node("ReduceL2", [pooled, self._int64("last_axis", [-1])], f"{name}.length", keepdims=1)
        least = graph.constant("least_length", np.array(1e-12, np.float32))
        divisor = graph.node("Max", [length, least], f"{name}.divisor")
        return graph.node("Div", [pooled, divisor], f"{name}.normalised")

    def _count_tokens(self) -> None:
        """Add `attended` (B, T, 1), 1 for tokens and 0 for padding, and `count` (B, 1), at least 1, both float32."""
        graph = self.graph
        mask = graph.node("Cast", [MASK], "mask", to=onnx.FLOAT)
        graph.node("Unsqueeze", [mask, self._int64("axis_of_values", [2])], "attended")
        total = graph.node("ReduceSum", [mask, self._int64("axis_of_tokens", [1])], "total", keepdims=1)
        graph.node("Max", [total, graph.constant("least_count", np.array(1, np.float32))], "count")

    def _int64(self, name: str, value: int | list[int]) -> str:
        return self.graph.constant(name, np.array(value, np.int64))
