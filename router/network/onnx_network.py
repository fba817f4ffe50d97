"""Network for serving without torch: learned profiles as numpy arrays, heads as an ONNX graph for onnxruntime.

It reads the same `heads.safetensors` as `router.network.torch_network` and gives equal results up to rounding; the
graph is that of `router.network.onnx_export`. It cannot be trained and knows no text.
Axes: B queries, E embedding, D vector, P protocols, S systems.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from router.errors import CheckpointError
from router.network.vectors import ARRAYS, Dimensions, LearnedProfiles, QueryVectors
from router.onnx.session import start_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

State = Mapping[str, NDArray[Any]]
HEADS = "heads."
PROFILES = "profiles."
EMBEDDING = "sentence_embedding"  # (B, E)
OUTPUTS = ("query_vector", "log_length", "level", "familiarity")  # (B, D), (B, P), (B,), (B,)


class OnnxNetwork:
    """The network on onnxruntime; read one from a file with `OnnxNetwork.read`."""

    def __init__(self, size: Dimensions, state: State, heads: InferenceSession) -> None:
        """`state` has the names of `RouterNetwork.state_dict`; CheckpointError where a part does not fit `size`."""
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(ARRAYS, (size.systems,))
        shapes["weight"] = (size.systems, size.columns)
        found = {name: state[PROFILES + name].shape for name in ARRAYS if PROFILES + name in state}
        columns = {each.name: tuple(each.shape[1:]) for each in (*heads.get_inputs(), *heads.get_outputs())}
        made = [(size.columns + size.protocols,), (size.protocols,), (), ()]
        wanted = {EMBEDDING: (size.embedding,), **dict(zip(OUTPUTS, made, strict=True))}
        if found != shapes or columns != wanted:
            wrong = {name: value for name, value in (found | columns).items() if (shapes | wanted).get(name) != value}
            raise CheckpointError(f"tensors are missing, unknown or of another shape: {wrong or sorted(shapes)}")
        self.size, self._state, self.heads = size, dict(state), heads
        learned = {name: state[PROFILES + name] for name in ARRAYS}
        self.learned = LearnedProfiles(**learned, protocols=size.protocols)

    @classmethod
    def read(cls, file: Path, graph: Path, size: Dimensions) -> OnnxNetwork:
        """The network in a file and its graph's; CheckpointError where one is broken or does not fit `size`.

        The heads run on one thread: the products are small and limited by reading the weights.
        """
        state = read_state(file)
        try:
            return cls(size, state, start_session(graph.read_bytes(), 1, {file.name: file.read_bytes()}))
        except CheckpointError as error:
            raise CheckpointError(f"{file} does not fit the dimensions in config.json: {error}") from error

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Every array by name."""
        return self._state

    def not_finite(self) -> list[str]:
        """Names of the tensors that hold infinities or NaNs."""
        return [name for name, each in self._state.items() if each.dtype.kind == "f" and not np.isfinite(each).all()]

    def query_vectors(self, embedding: Any) -> QueryVectors:
        """Query vectors of embeddings (B, E)."""
        outputs = self.heads.run(OUTPUTS, {EMBEDDING: np.asarray(embedding, np.float32)})
        vector, log_length, level, familiarity = outputs
        return QueryVectors(vector, log_length, level, familiarity, self.size)


def read_state(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a file by the names of `RouterNetwork.state_dict`; CheckpointError where it is broken."""
    try:
        return safetensors.load(file.read_bytes())
    except SafetensorError as error:
        raise CheckpointError(f"{file} is not a whole safetensors file: {error}") from error
