"""Models added to a checkpoint after training: profiles with their uncertainty, and the file that stores them.

The file lies beside those of training, which do not change; without the file the router is as it was trained.
Axes: F numbers of a profile (its columns, the slope of difficulty, the bias), R directions of uncertainty, U models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from router.errors import CheckpointError, RouterError
from router.files import atomic_write
from router.network.vectors import LearnedProfiles
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool, pool_from_json, pool_to_json

Floats = NDArray[np.float32]
FORMAT = 1
KEY = "onboarded"  # of the JSON in the header of the file
RANK = 32  # directions of uncertainty that are kept of each profile


@dataclass(frozen=True, eq=False)
class AddedProfile:
    """The profile of one system, fitted after training."""

    system: System
    facts: ModelFacts
    reference_protocol: str  # a trained one, whose difficulty and answer lengths apply
    row: Floats  # (F,) weights, slope of difficulty, bias
    covariance_factor: Floats  # (F, R); times its transpose: the row's covariance, but for what RANK leaves out
    log_tokens: float
    mean_score: float  # of its answers; expected from benchmarks if it has none
    mean_input_tokens: float
    mean_output_tokens: float
    answers: int
    benchmarks: Mapping[str, float] = field(default_factory=dict)  # published scores that it was fitted from
    pools: tuple[str, ...] = ()  # names of the pools that it joined

    @property
    def rests_on(self) -> str:
        """The evidence that the profile was fitted from, in words."""
        if self.answers:
            also = f" and {', '.join(self.benchmarks)}" if self.benchmarks else ""
            return f"mean of the {self.answers} graded answers it was fitted from{also}"
        return f"expected from {', '.join(self.benchmarks)}"

    @property
    def revision(self) -> str:
        """Eight hex digits that change with the row and the answer length."""
        return hashlib.sha256(self.row.astype(np.float64).tobytes() + str(self.log_tokens).encode()).hexdigest()[:8]


@dataclass(frozen=True, eq=False)
class AddedModels:
    """All profiles added to a checkpoint, and the pools made for them."""

    profiles: tuple[AddedProfile, ...] = ()
    pools: tuple[Pool, ...] = ()

    @property
    def systems(self) -> tuple[System, ...]:
        """The systems (U,) in the order of their rows."""
        return tuple(profile.system for profile in self.profiles)

    def without(self, systems: Sequence[System]) -> AddedModels:
        """The models other than `systems`. Pools made for added models lose these too, and an empty pool is removed."""
        kept = [each for each in self.profiles if each.system not in systems]
        pools = []
        for pool in self.pools:
            members = tuple(c for c in pool.candidates if c.system not in systems)
            if not members:  # the pool now consists of the models that joined it
                members = tuple(Candidate(each.facts, each.system) for each in kept if pool.name in each.pools)
                own = {c.system for c in members}
                kept = [_leaving(each, pool.name) if each.system in own else each for each in kept]
            if members:
                pools.append(replace(pool, candidates=members))
        return AddedModels(tuple(kept), tuple(pools))


def _leaving(profile: AddedProfile, pool: str) -> AddedProfile:
    return replace(profile, pools=tuple(name for name in profile.pools if name != pool))


def extended(learned: LearnedProfiles, profiles: Sequence[AddedProfile], protocols: Sequence[int]) -> LearnedProfiles:
    """The learned rows, followed by those of `profiles`, whose reference protocols have the indices `protocols`."""
    if not profiles:
        return learned
    names = ("log_tokens", "mean_score", "mean_input_tokens", "mean_output_tokens")
    others = {name: [getattr(profile, name) for profile in profiles] for name in names}
    return learned.extended(np.stack([profile.row for profile in profiles]), {"protocol": protocols, **others})


def with_members(pools: Mapping[str, Pool], added: AddedModels) -> dict[str, Pool]:
    """`pools` with the added models that joined them, and the pools made for added models."""
    found = dict(pools) | {pool.name: pool for pool in added.pools}
    for name, pool in found.items():
        joined = [Candidate(each.facts, each.system) for each in added.profiles if name in each.pools]
        if joined or pool in added.pools:
            found[name] = with_revisions(replace(pool, candidates=(*pool.candidates, *joined)), added)
    return found


def with_revisions(pool: Pool, added: AddedModels) -> Pool:
    """The pool with the revision of every added profile, so that a measurement with an older profile does not apply."""
    revision = {each.system: each.revision for each in added.profiles}
    if not any(candidate.system in revision for candidate in pool.candidates):
        return pool
    members = (replace(c, revision=revision.get(c.system, "") if c.system else "") for c in pool.candidates)
    return replace(pool, candidates=tuple(members))


def write_added_models(added: AddedModels, file: Path) -> None:
    """Replace the file as a whole, or remove it if there is no added model. Raises CheckpointError if it cannot."""
    try:
        if added.profiles:
            atomic_write(file, to_bytes(added))
        else:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot write {file}: {error}") from error


def to_bytes(added: AddedModels) -> bytes:
    """The content of the file: tensors, and all other values as JSON in the safetensors header.

    The header has a single key, since safetensors does not keep the order of several.
    """
    profiles = added.profiles
    tensors = {
        "row": np.stack([each.row for each in profiles]).astype(np.float32),
        "spread": np.stack([each.covariance_factor for each in profiles]).astype(np.float32),
    }
    plain = {
        "version": FORMAT,
        "profiles": [_to_json(each) for each in profiles],
        "pools": [pool_to_json(pool) for pool in added.pools],
    }
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    return safetensors.save(tensors, metadata={KEY: text})


def read_added_models(file: Path) -> AddedModels:
    """The models in the file, none if it is missing; CheckpointError for a file that is broken or newer."""
    if not file.is_file():
        return AddedModels()
    hint = "remove the file to have the router as it was trained"
    try:
        with safe_open(file, "numpy") as stored:
            raw = json.loads((stored.metadata() or {}).get(KEY, "{}"))
            if raw.get("version") != FORMAT:
                raise CheckpointError(
                    f"{file} has version {raw.get('version')!r}, this installation reads {FORMAT}: install the version "
                    f"of inferencedynamics that wrote it, or {hint}"
                )
            rows, factors = stored.get_tensor("row"), stored.get_tensor("spread")
        profiles = tuple(
            _from_json(each, row, factor) for each, row, factor in zip(raw["profiles"], rows, factors, strict=True)
        )
        if not (np.isfinite(rows).all() and np.isfinite(factors).all()):
            raise ValueError("not all numbers are finite")
        systems = [profile.system for profile in profiles]
        return AddedModels(profiles, tuple(pool_from_json(pool, systems) for pool in raw["pools"]))
    except CheckpointError:
        raise
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, RouterError) as error:
        raise CheckpointError(f"{file} is broken ({type(error).__name__}: {error}); {hint}") from error


_PLAIN = ("log_tokens", "mean_score", "mean_input_tokens", "mean_output_tokens", "answers")


def _to_json(profile: AddedProfile) -> dict[str, Any]:
    plain = {name: getattr(profile, name) for name in _PLAIN}
    system = {"model": profile.system.model, "protocol": profile.system.protocol}
    return system | {"like": profile.reference_protocol} | plain | {
        "facts": profile.facts.to_json(),
        "benchmarks": dict(profile.benchmarks),
        "pools": list(profile.pools),
    }  # fmt: skip


def _from_json(raw: Mapping[str, Any], row: Floats, factor: Floats) -> AddedProfile:
    return AddedProfile(
        system=System(raw["model"], raw["protocol"]),
        facts=ModelFacts.from_json(raw["facts"]),
        reference_protocol=raw["like"],
        row=row,
        covariance_factor=factor,
        benchmarks=raw["benchmarks"],
        pools=tuple(raw["pools"]),
        **{name: raw[name] for name in _PLAIN},
    )
