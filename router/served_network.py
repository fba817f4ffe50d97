"""The trained network for serving, in numpy alone: the numbers of `heads.safetensors` and how queries are read by them.

The same maths as `router.network.RouterNetwork` in evaluation, to rounding; cannot be trained. Knows no text.
Axes: B queries, E embedding, H shared layer, T prototypes, G categories, and those of `Dimensions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from router.arrays import gelu, linear
from router.errors import CheckpointError
from router.learned_profiles import ARRAYS, LearnedProfiles
from router.likeness import kernel, with_categories
from router.query_vectors import Dimensions, QueryVectors

State = Mapping[str, NDArray[Any]]
HEADS = "heads."
PROFILES = "profiles."
LINEAR = ("capability", "knowledge", "residual", "difficulty", "length", "prototypes.category")


class ServedNetwork:
    """Heads and profiles as numpy arrays; read one with `ServedNetwork.read`."""

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
        self._heads = {name.removeprefix(HEADS): each for name, each in state.items() if name.startswith(HEADS)}
        # The heads that are one product each, side by side: one product for all.
        self._linear = [name for name in LINEAR if f"{name}.weight" in self._heads]
        weights = [self._heads[f"{name}.weight"] for name in self._linear]
        self._ends = np.cumsum([len(each) for each in weights]).tolist()
        self._weight = np.concatenate(weights)
        none = np.zeros(size.residual, np.float32)  # the residual has no bias
        self._bias = np.concatenate([self._heads.get(f"{name}.bias", none) for name in self._linear])

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
        """What every head makes of embeddings (B, E)."""
        heads = self._heads
        scaled = (np.asarray(embedding, np.float32) - heads["centre"]) * heads["scale"]
        hidden = gelu(linear(scaled, heads["trunk.0.weight"], heads["trunk.0.bias"]))
        parts = np.split(linear(hidden, self._weight, self._bias), self._ends[:-1], axis=1)
        read = dict(zip(self._linear, parts, strict=True))
        nothing = hidden[:, :0]
        return QueryVectors(
            read["capability"],
            read["knowledge"],
            read.get("residual", nothing),
            self._likeness(hidden, read.get("prototypes.category")) if self.size.prototypes else nothing,
            read["difficulty"],
            read["length"],
        )

    def _likeness(self, hidden: NDArray[np.float32], categories: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """(B, L) of the shared layer (B, H) and the logits (B, G) of categories, where there are any."""
        heads = self._heads
        features = kernel(hidden, heads["prototypes.centre"], heads["prototypes.points"])
        if categories is not None:
            features = with_categories(features, categories)
        likeness: NDArray[np.float32] = features @ heads["prototypes.coordinates"]
        return likeness


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
