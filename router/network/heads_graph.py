"""The heads of a trained network as an ONNX graph: what `router.network.torch_network.QueryHeads` computes in
evaluation.

The weights, a few MB, lie inside the model. Builds bytes and runs nothing.
Axes: B queries, E embedding, H shared layer, and those of `router.network.vectors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.network.vectors import Dimensions
from router.onnx.graph import FLOAT, Graph

SHARPNESS = 4.0  # of the prototypes' kernel; at a cosine of 0 one still counts exp(-4) = 1.8% of one that is hit
CATEGORY_SCALE = 0.5  # of the probability of a category; the smaller, the harder its weights are drawn to 0
SHORTEST = 1e-12  # length below which a vector has no direction
EMBEDDING, VECTOR, LENGTH = "embedding", "vector", "log_length"
_LINEAR = ("capability", "knowledge", "residual", "difficulty", "length", "prototypes.category")
_FUSED = "com.microsoft"


def build_heads(heads: Mapping[str, NDArray[Any]], size: Dimensions) -> bytes:
    """The ONNX model of `heads`, the arrays of a network's state by their names less the prefix.

    Input `EMBEDDING` (B, E); outputs `VECTOR` (B, D) and `LENGTH` (B, P), see `QueryVectors`.
    """
    graph = _HeadsGraph(heads)
    graph.build(size)
    return graph.to_bytes()


class _HeadsGraph(Graph):
    def __init__(self, heads: Mapping[str, NDArray[Any]]) -> None:
        super().__init__("heads")
        self.heads = heads

    def build(self, size: Dimensions) -> None:
        self.input(EMBEDDING, FLOAT, ("B", size.embedding))
        # Centre and scale become part of the first layer.
        weight = self.heads["trunk.0.weight"] * self.heads["scale"]
        bias = self._numbers("trunk.bias", self.heads["trunk.0.bias"] - weight @ self.heads["centre"])
        hidden = self.node("BiasGelu", [self._product(EMBEDDING, "trunk", weight), bias], "hidden", _FUSED)
        read = self._linear(hidden)
        parts = [self._softmax(read["capability"]), self._softmax(read["knowledge"])]
        if size.residual:
            parts.append(read["residual"])
        if size.prototypes:
            features = self._features(hidden, read.get("prototypes.category"))
            coordinates = self._numbers("coordinates", self.heads["prototypes.coordinates"])
            parts.append(self.node("MatMul", [features, coordinates], "likeness"))
        self.node("Concat", [*parts, read["difficulty"]], VECTOR, axis=-1)
        self.node("Identity", [read["length"]], LENGTH)
        self.output(VECTOR, FLOAT, ("B", size.columns + size.protocols))
        self.output(LENGTH, FLOAT, ("B", size.protocols))

    def _linear(self, hidden: str) -> dict[str, str]:
        """The outputs of the heads that are one product each, of one product for all."""
        names = [name for name in _LINEAR if f"{name}.weight" in self.heads]
        weights = [self.heads[f"{name}.weight"] for name in names]
        biases = [
            self.heads.get(f"{name}.bias", np.zeros(len(each)))  # the residual has none
            for name, each in zip(names, weights, strict=True)
        ]
        product = self._product(hidden, "linear.product", np.concatenate(weights))
        linear = self.node("Add", [product, self._numbers("linear.bias", np.concatenate(biases))], "linear")
        ends = pairwise(accumulate(map(len, weights), initial=0))
        return {name: self._columns(linear, name, *each) for name, each in zip(names, ends, strict=True)}

    def _features(self, hidden: str, categories: str | None) -> str:
        """`router.network.prototypes.Prototypes.features`."""
        seen = self.node("Sub", [hidden, self._numbers("centre", self.heads["prototypes.centre"])], "seen")
        last = self._integer("last_axis", -1)
        length = self.node("ReduceL2", [seen, last], "seen.length", keepdims=1)
        length = self.node("Max", [length, self._numbers("shortest", SHORTEST)], "seen.divisor")
        cosine = self._product(self.node("Div", [seen, length], "direction"), "cosine", self.heads["prototypes.points"])
        less = self.node("Sub", [cosine, self._numbers("one", 1.0)], "cosine.less")
        near = self.node("Exp", [self.node("Mul", [less, self._numbers("sharpness", SHARPNESS)], "sharp")], "near")
        if categories is None:
            return near
        nearest = self.node("Sqrt", [self.node("ReduceMax", [near, last], "nearest", keepdims=1)], "nearest.root")
        scale = self.node("Mul", [nearest, self._numbers("category_scale", CATEGORY_SCALE)], "nearest.scale")
        share = self.node("Mul", [self._softmax(categories), scale], "categories.scaled")
        return self.node("Concat", [near, share], "features", axis=-1)

    def _product(self, values: str, name: str, weight: NDArray[Any]) -> str:
        """`values` (B, N) times `weight` (M, N) transposed."""
        return self.node("MatMul", [values, self._numbers(f"{name}.weight", weight.T)], name)

    def _softmax(self, logits: str) -> str:
        return self.node("Softmax", [logits], f"{logits}.share", axis=-1)

    def _columns(self, values: str, name: str, start: int, end: int) -> str:
        """Some columns of `values` (B, N), under a `name` of their own."""
        bounds = [self._integer(f"{name}.start", start), self._integer(f"{name}.end", end), self._integer("columns", 1)]
        return self.node("Slice", [values, *bounds], name)

    def _numbers(self, name: str, value: Any) -> str:
        return self.constant(name, np.ascontiguousarray(value, np.float32))

    def _integer(self, name: str, value: int) -> str:
        return self.constant(name, np.array([value], np.int64))
