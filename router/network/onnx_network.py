"""The trained network for serving, without torch: the numbers of `heads.safetensors` and how queries are read by them.

The same maths as `router.network.torch_network.RouterNetwork` in evaluation, to rounding; cannot be trained. Knows
no text.
Axes: B queries, E embedding, H shared layer, and those of `Dimensions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from router.errors import CheckpointError
from router.network.heads_graph import EMBEDDING, build_heads
from router.network.learned_profiles import ARRAYS, LearnedProfiles
from router.network.vectors import Dimensions, QueryVectors
from router.onnx.session import start_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

State = Mapping[str, NDArray[Any]]
HEADS = "heads."
PROFILES = "profiles."


class ServedNetwork:
    """Profiles as numpy arrays, and heads that onnxruntime computes; read one with `ServedNetwork.read`."""

    def __init__(self, size: Dimensions, state: State) -> None:
        """`state` by the names of `RouterNetwork.state_dict`; CheckpointError where it does not fit `size`."""
        wanted = shapes_of(size)
        wrong = sorted(set(wanted) ^ set(state)) + [
            f"{name} {state[name].shape}, not {shape}"
            for name, shape in wanted.items()
            if name in state and state[name].shape != shape
        ]
        if wrong:
            raise CheckpointError(f"tensors that are missing, unknown or of another shape: {wrong[:5]}")
        self.size, self._state = size, dict(state)
        learned = {name: state[PROFILES + name] for name in ARRAYS}
        self.learned = LearnedProfiles(**learned, protocols=size.protocols)

    @classmethod
    def read(cls, file: Path, size: Dimensions) -> ServedNetwork:
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
        """Every array by its name."""
        return self._state

    def not_finite(self) -> list[str]:
        """Names of the tensors that hold an infinite number or none."""
        return [name for name, each in self._state.items() if each.dtype.kind == "f" and not np.isfinite(each).all()]

    def query_vectors(self, embedding: Any) -> QueryVectors:
        """What every head makes of embeddings (B, E); UsageError where onnxruntime cannot be used."""
        vector, log_length = self._session.run(None, {EMBEDDING: np.asarray(embedding, np.float32)})
        return QueryVectors(vector, log_length, self.size)

    @cached_property
    def _session(self) -> InferenceSession:
        """On one thread: the products are small, and bound by reading the weights."""
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
