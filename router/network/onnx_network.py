"""Network for serving without torch: learned profiles as numpy arrays, heads as an ONNX graph for onnxruntime.

It reads the same `heads.safetensors` as `router.network.torch_network` and gives equal results up to rounding. The
weights of the heads, a few MB, lie inside the graph. It cannot be trained and knows no text.
Axes: B queries, E embedding, H shared layer, and those of `router.network.vectors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from router.errors import CheckpointError
from router.network.vectors import (
    ARRAYS,
    CATEGORY_SCALE,
    SHARPNESS,
    SHORTEST,
    Dimensions,
    LearnedProfiles,
    QueryVectors,
)
from router.onnx.graph import FLOAT, Graph
from router.onnx.session import start_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

State = Mapping[str, NDArray[Any]]
HEADS = "heads."
PROFILES = "profiles."
EMBEDDING, VECTOR, LENGTH = "embedding", "vector", "log_length"
_LINEAR = ("capability", "knowledge", "residual", "difficulty", "length", "prototypes.category")
_FUSED = "com.microsoft"


class OnnxNetwork:
    """The network on onnxruntime; read one from a file with `OnnxNetwork.read`."""

    def __init__(self, size: Dimensions, state: State) -> None:
        """`state` has the names of `RouterNetwork.state_dict`; CheckpointError where it does not fit `size`."""
        wanted = shapes_of(size)
        wrong = sorted(set(wanted) ^ set(state)) + [
            f"{name} {state[name].shape}, not {shape}"
            for name, shape in wanted.items()
            if name in state and state[name].shape != shape
        ]
        if wrong:
            raise CheckpointError(f"tensors are missing, unknown or of another shape: {wrong[:5]}")
        self.size, self._state = size, dict(state)
        learned = {name: state[PROFILES + name] for name in ARRAYS}
        self.learned = LearnedProfiles(**learned, protocols=size.protocols)

    @classmethod
    def read(cls, file: Path, size: Dimensions) -> OnnxNetwork:
        """The network in a file; CheckpointError where it is broken or does not fit `size`."""
        try:
            state = safetensors.load(file.read_bytes())
        except SafetensorError as error:
            raise CheckpointError(f"{file} is not a whole safetensors file: {error}") from error
        try:
            return cls(size, state)
        except CheckpointError as error:
            raise CheckpointError(f"{file} does not fit the dimensions in config.json: {error}") from error

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Every array by name."""
        return self._state

    def not_finite(self) -> list[str]:
        """Names of the tensors that hold infinities or NaNs."""
        return [name for name, each in self._state.items() if each.dtype.kind == "f" and not np.isfinite(each).all()]

    def query_vectors(self, embedding: Any) -> QueryVectors:
        """Query vectors of embeddings (B, E); UsageError where onnxruntime cannot be used."""
        vector, log_length = self._session.run(None, {EMBEDDING: np.asarray(embedding, np.float32)})
        return QueryVectors(vector, log_length, self.size)

    @cached_property
    def _session(self) -> InferenceSession:
        """The session of the heads, on one thread: the products are small and limited by reading the weights."""
        heads = {name.removeprefix(HEADS): each for name, each in self._state.items() if name.startswith(HEADS)}
        return start_session(build_heads(heads, self.size), threads=1)


def shapes_of(size: Dimensions) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a network, by the names of `RouterNetwork.state_dict`."""
    hidden = size.hidden
    heads: dict[str, tuple[int, ...]] = {
        "centre": (size.embedding,),
        "scale": (size.embedding,),
        "trunk.0.weight": (hidden, size.embedding),
        "trunk.0.bias": (hidden,),
    }
    for name, outputs in (
        ("capability", size.capabilities),
        ("knowledge", size.domains),
        ("difficulty", size.protocols),
        ("length", size.protocols),
    ):
        heads |= {f"{name}.weight": (outputs, hidden), f"{name}.bias": (outputs,)}
    if size.residual:
        heads["residual.weight"] = (size.residual, hidden)
    if size.prototypes:
        heads |= {
            "prototypes.centre": (hidden,),
            "prototypes.points": (size.prototypes, hidden),
            "prototypes.coordinates": (size.prototypes + size.categories, size.likeness),
        }
        if size.categories:
            heads |= {
                "prototypes.category.weight": (size.categories, hidden),
                "prototypes.category.bias": (size.categories,),
            }
    profiles: dict[str, tuple[int, ...]] = dict.fromkeys(ARRAYS, (size.systems,))
    profiles["weight"] = (size.systems, size.columns)
    return {HEADS + name: shape for name, shape in heads.items()} | {
        PROFILES + name: shape for name, shape in profiles.items()
    }


def build_heads(heads: Mapping[str, NDArray[Any]], size: Dimensions) -> bytes:
    """The ONNX model of `heads`, a network's arrays under their names without the prefix `HEADS`.

    Input `EMBEDDING` (B, E); outputs `VECTOR` (B, D) and `LENGTH` (B, P), see `QueryVectors`.
    """
    graph = _HeadsGraph(heads)
    graph.build(size)
    return graph.to_bytes()


class _HeadsGraph(Graph):
    """Builder of the graph of all heads."""

    def __init__(self, heads: Mapping[str, NDArray[Any]]) -> None:
        super().__init__("heads")
        self.heads = heads

    def build(self, size: Dimensions) -> None:
        self.input(EMBEDDING, FLOAT, ("B", size.embedding))
        # The first layer absorbs centre and scale.
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
        """The output of each head that is a linear map, by name; all are computed by one product."""
        names = [name for name in _LINEAR if f"{name}.weight" in self.heads]
        weights = [self.heads[f"{name}.weight"] for name in names]
        biases = [
            self.heads.get(f"{name}.bias", np.zeros(len(each)))  # the residual head has no bias
            for name, each in zip(names, weights, strict=True)
        ]
        product = self._product(hidden, "linear.product", np.concatenate(weights))
        linear = self.node("Add", [product, self._numbers("linear.bias", np.concatenate(biases))], "linear")
        ends = pairwise(accumulate(map(len, weights), initial=0))
        return {name: self._columns(linear, name, *each) for name, each in zip(names, ends, strict=True)}

    def _features(self, hidden: str, categories: str | None) -> str:
        """`router.network.torch_network.Prototypes.features` as nodes."""
        centred = self.node("Sub", [hidden, self._numbers("centre", self.heads["prototypes.centre"])], "seen")
        last = self._integer("last_axis", -1)
        length = self.node("ReduceL2", [centred, last], "seen.length", keepdims=1)
        length = self.node("Max", [length, self._numbers("shortest", SHORTEST)], "seen.divisor")
        direction = self.node("Div", [centred, length], "direction")
        cosine = self._product(direction, "cosine", self.heads["prototypes.points"])
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
        """The columns from `start` to `end` of `values` (B, N), as the tensor `name`."""
        bounds = [self._integer(f"{name}.start", start), self._integer(f"{name}.end", end), self._integer("columns", 1)]
        return self.node("Slice", [values, *bounds], name)

    def _numbers(self, name: str, value: Any) -> str:
        return self.constant(name, np.ascontiguousarray(value, np.float32))

    def _integer(self, name: str, value: int) -> str:
        return self.constant(name, np.array([value], np.int64))
