"""Checkpoint of a trained router: encoder, network, names, pools and added models, and their consistency.

Files are read and written by `router.checkpoint.storage`. Axes: S systems, P protocols, and those of `Dimensions`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.checkpoint.added_models import AddedModels, extended, with_members
from router.checkpoint.benchmark_scores import BenchmarkScores
from router.encoding.onnx_encoder import OnnxEncoder
from router.errors import CheckpointError, known_names
from router.network.onnx_network import OnnxNetwork
from router.network.taxonomy import Taxonomy
from router.network.vectors import LearnedProfiles
from router.policy.goals import DialTable
from router.pools.models import ModelFacts, System, resolve_system
from router.pools.pool import Pool

if TYPE_CHECKING:
    from router.encoding.backend import Encoder
    from router.network.torch_network import RouterNetwork

    Network = RouterNetwork | OnnxNetwork


@dataclass(frozen=True)
class ReadableProfile:
    """The learned row of one system in readable form, with logits by axis, strongest first."""

    system: System
    facts: ModelFacts
    axes: dict[str, float]
    bias: float
    mean_score: float  # over its training rows
    rests_on: str  # the evidence that the row was fitted from, in words


@dataclass
class Checkpoint:
    """The parts of a router: fields from training, and `added_models`, which the properties include."""

    encoder: Encoder
    network: Network  # of torch for training and GPUs, otherwise of onnxruntime
    taxonomy: Taxonomy
    systems: tuple[System, ...]  # (S,) in the order of the network's rows
    protocols: tuple[str, ...]  # (P,)
    models: dict[str, ModelFacts]  # by model name, one for every model of `systems`
    pools: dict[str, Pool]  # by name
    default_pool: str
    card: str = ""  # Markdown
    training: dict[str, Any] = field(default_factory=dict)  # how it was trained; plain values
    dial_tables: dict[str, DialTable] = field(default_factory=dict)  # by pool name; older checkpoints have none
    benchmarks: BenchmarkScores = field(default_factory=BenchmarkScores)
    added_models: AddedModels = field(default_factory=AddedModels)

    @cached_property
    def all_systems(self) -> tuple[System, ...]:
        """The systems with a profile, in row order: the trained ones, then the added ones."""
        return self.systems + self.added_models.systems

    @cached_property
    def all_models(self) -> dict[str, ModelFacts]:
        """Facts of trained and added models by model name; a trained model keeps the facts from training."""
        return {profile.system.model: profile.facts for profile in self.added_models.profiles} | self.models

    @cached_property
    def all_pools(self) -> dict[str, Pool]:
        """The pools by name, added members and pools included."""
        return with_members(self.pools, self.added_models)

    @cached_property
    def covariance_factors(self) -> dict[System, NDArray[np.float32]]:
        """The covariance factor of every added profile, see `AddedProfile`."""
        return {profile.system: profile.covariance_factor for profile in self.added_models.profiles}

    @property
    def all_learned(self) -> LearnedProfiles:
        """The rows of `all_systems`, on the network's device; not cached, since the network may move or be trained."""
        columns = [self.protocols.index(profile.reference_protocol) for profile in self.added_models.profiles]
        return extended(self.network.learned, self.added_models.profiles, columns)

    def placed(self, device: str) -> Checkpoint:
        """The checkpoint itself, its encoder and network moved to the device and ready to be used."""
        if not isinstance(self.encoder, OnnxEncoder):
            self.encoder.to(device).eval()
        if not isinstance(self.network, OnnxNetwork):
            self.network.to(device).eval()
        return self

    def readable_profile(self, name: str) -> ReadableProfile:
        """The learned row of a model name or `model@protocol`; PoolError for an unknown or ambiguous name."""
        system = resolve_system(name, self.all_systems)
        row, table = self.all_systems.index(system), self.all_learned
        weights = table.weight[row, : self.network.size.named].tolist()
        axes = dict(sorted(zip(self.taxonomy.axes, weights, strict=True), key=lambda pair: -pair[1]))
        facts, rests_on = self.models.get(system.model, ModelFacts(system.model)), "mean over its training queries"
        if row >= len(self.systems):
            added = self.added_models.profiles[row - len(self.systems)]
            facts, rests_on = added.facts, added.rests_on
        return ReadableProfile(system, facts, axes, float(table.bias[row]), float(table.mean_score[row]), rests_on)


def check_consistent(checkpoint: Checkpoint, what: str, dtype: str = "float32") -> None:
    """Raise a CheckpointError that starts with `what` and lists all parts that contradict each other.

    The encoder's weights must be finite in `dtype`, the network's in float32.
    """
    size, table = checkpoint.network.size, checkpoint.network.learned
    counts = {
        "capabilities": (len(checkpoint.taxonomy.capabilities), size.capabilities, "the taxonomy has"),
        "domains": (len(checkpoint.taxonomy.domains), size.domains, "the taxonomy has"),
        "systems": (len(set(checkpoint.systems)), size.systems, "the list of systems has, each once,"),
        "protocols": (len(set(checkpoint.protocols)), size.protocols, "the list of protocols has, each once,"),
        "numbers in an embedding": (checkpoint.encoder.dimension, size.embedding, "the encoder makes"),
    }
    problems = [
        f"{who} {got} {noun}, but the heads are made for {wanted}"
        for noun, (got, wanted, who) in counts.items()
        if got != wanted
    ]
    if not problems:
        rows = [checkpoint.protocols[row] if 0 <= row < size.protocols else None for row in table.protocol.tolist()]
        problems += [
            f"system {system.id!r} has a profile under protocol {row!r}"
            for system, row in zip(checkpoint.systems, rows, strict=True)
            if system.protocol != row
        ][:10]
    problems += _added_model_problems(checkpoint)
    problems += [
        f"pool {pool.name!r} says where {each.id} answers (upstream), which only a pool file of the operator may: that "
        "address would be sent the operator's keys"
        for pool in [*checkpoint.pools.values(), *checkpoint.added_models.pools]
        for each in pool.candidates
        if each.upstream is not None
    ][:10]
    problems += [f"protocol {name!r} must not contain @" for name in checkpoint.protocols if "@" in name]
    if checkpoint.default_pool not in checkpoint.pools:
        known = known_names(checkpoint.default_pool, checkpoint.pools)
        problems.append(f"the default pool {checkpoint.default_pool!r} is none of its pools; {known}")
    not_finite = {("network", "float32"): checkpoint.network.not_finite()}
    if not isinstance(checkpoint.encoder, OnnxEncoder):  # which checks its weights itself and keeps none
        not_finite = {("encoder", dtype): checkpoint.encoder.not_finite(dtype)} | not_finite
    for (part, kind), names in not_finite.items():
        problems += [f"weights of the {part} are not finite numbers in {kind}: {name}" for name in names[:5]]
    if problems:
        raise CheckpointError(f"{what}: {'; '.join(problems)}")


def _added_model_problems(checkpoint: Checkpoint) -> list[str]:
    """Problems of added profiles and pools that contradict the trained router, at most ten."""
    length, problems = checkpoint.network.size.columns + 2, []
    seen = set(checkpoint.systems)
    problems += [
        f"onboarded pool {pool.name!r} has the name of a trained one"
        for pool in checkpoint.added_models.pools
        if pool.name in checkpoint.pools
    ]
    for each in checkpoint.added_models.profiles:
        if each.reference_protocol not in checkpoint.protocols:
            problems.append(f"onboarded {each.system.id!r} refers to the unknown protocol {each.reference_protocol!r}")
        if len(each.row) != length or len(each.covariance_factor) != length:
            problems.append(f"onboarded {each.system.id!r} has {len(each.row)} numbers, a profile has {length}")
        if each.system in seen:
            problems.append(f"onboarded {each.system.id!r} has a profile already")
        seen.add(each.system)
    return problems[:10]
