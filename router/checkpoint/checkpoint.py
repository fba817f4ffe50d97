"""A released router: saved as a folder of safetensors and JSON, whole or not at all, and verified when loaded.

Never a pickle. What lies where in the folder is in `router.checkpoint.layout`, what `profiles.json` says in
`router.checkpoint.profiles_file`. Knows nothing of queries. Axes: S systems, P protocols, and those of `Dimensions`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import numpy as safetensors

from router import hub
from router.arrays import host
from router.checkpoint.added_models import Onboarded, read_onboarded, write_onboarded
from router.checkpoint.benchmark_scores import BenchmarkScores
from router.checkpoint.layout import (
    FORMAT_VERSION,
    LAYOUT,
    check_seal,
    config_text,
    find_folder,
    read_config,
    replacing,
    seal,
)
from router.checkpoint.profiles_file import profiles_from_json, profiles_to_json
from router.encoding.backend import as_torch, choose_backend, load_encoder, uses_torch
from router.encoding.onnx_encoder import OnnxEncoder
from router.errors import CheckpointError, RouterError, UsageError, known_names
from router.network.onnx_network import OnnxNetwork
from router.network.taxonomy import Taxonomy
from router.network.vectors import Dimensions
from router.policy.goals import DialTable, tables_from_json, tables_to_json
from router.pools.models import ModelFacts, System
from router.pools.pool import Pool

if TYPE_CHECKING:
    from torch import dtype as Dtype

    from router.encoding.backend import Encoder
    from router.network.torch_network import RouterNetwork

    Network = RouterNetwork | OnnxNetwork

T = TypeVar("T")
WEIGHTS_DTYPES = ("float16", "bfloat16", "float32")
FRONT_MATTER = "---\nlicense: apache-2.0\nlibrary_name: inferencedynamics\ntags: [llm-routing, router]\n---\n\n"


@dataclass
class Checkpoint:
    """Everything that a router is made of. All but `onboarded` is as training left it."""

    encoder: Encoder
    network: Network  # to be trained or on a GPU: by torch; else without it
    taxonomy: Taxonomy
    systems: tuple[System, ...]  # (S,) in the order of the network's rows
    protocols: tuple[str, ...]  # (P,)
    models: dict[str, ModelFacts]  # by model name, one for every model of `systems`
    pools: dict[str, Pool]  # by name
    default_pool: str
    card: str = ""  # Markdown
    training: dict[str, Any] = field(default_factory=dict)  # how it was made; plain values
    dial_tables: dict[str, DialTable] = field(default_factory=dict)  # by the pool's name; older checkpoints have none
    benchmarks: BenchmarkScores = field(default_factory=BenchmarkScores)
    onboarded: Onboarded = field(default_factory=Onboarded)


def save_checkpoint(checkpoint: Checkpoint, folder: str | Path, weights_dtype: str | Dtype = "float16") -> None:
    """Write the folder, with the encoder's weights in `weights_dtype` (float16, bfloat16 or float32, also torch's).

    A checkpoint that is there is replaced as a whole, and only when the new one is complete. A card without front
    matter gets it. Raises CheckpointError where `folder` holds anything else or `checkpoint` does not fit together;
    UsageError for another dtype, or without torch.
    """
    dtype = str(weights_dtype).removeprefix("torch.")
    if dtype not in WEIGHTS_DTYPES:
        raise UsageError(f"weights_dtype must be one of {', '.join(WEIGHTS_DTYPES)}, got {weights_dtype}")
    checkpoint = replace(checkpoint, encoder=as_torch(checkpoint.encoder))
    _check_consistent(checkpoint, "this checkpoint cannot be saved", dtype)
    with replacing(Path(folder)) as partial:
        _write(checkpoint, partial, dtype)


def load_checkpoint(path_or_hub_id: str | Path, device: str = "cpu", backend: str = "torch") -> Checkpoint:
    """The checkpoint in a folder or a Hub repository, verified, in evaluation mode on `device`.

    It is computed by `backend`, of `backend.BACKENDS`: by onnxruntime the network is so too. Raises CheckpointError
    for whatever is missing, altered, of an unknown version, or does not fit together; UsageError for a backend that
    cannot be used.
    """
    folder = find_folder(path_or_hub_id)
    config = read_config(folder)
    check_seal(folder, config.get("sha256"))
    chosen = choose_backend(backend, device, folder / LAYOUT.encoder)
    try:
        systems = tuple(_system(name) for name in config["systems"])
        models, pools = _parsed(folder / LAYOUT.profiles, lambda text: profiles_from_json(text, systems))
        checkpoint = Checkpoint(
            encoder=load_encoder(folder / LAYOUT.encoder, config["encoder"], chosen, device),
            network=_load_network(folder / LAYOUT.heads, Dimensions(**config["dimensions"]), chosen, device),
            taxonomy=_parsed(folder / LAYOUT.taxonomy, Taxonomy.from_json),
            systems=systems,
            protocols=tuple(config["protocols"]),
            models=models,
            pools=pools,
            default_pool=str(config["default_pool"]),
            card=_read_card(folder / LAYOUT.card),
            training=dict(config["training"]),
            dial_tables=_parsed(folder / LAYOUT.dials, tables_from_json) if (folder / LAYOUT.dials).is_file() else {},
            benchmarks=_parsed(folder / LAYOUT.benchmarks, BenchmarkScores.from_json)
            if (folder / LAYOUT.benchmarks).is_file()
            else BenchmarkScores(),
            onboarded=read_onboarded(folder / LAYOUT.onboarded),
        )
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise CheckpointError(f"{folder / LAYOUT.config} is broken: {type(error).__name__}: {error}") from error
    _check_consistent(checkpoint, str(folder))
    return checkpoint


def push_checkpoint(checkpoint: Checkpoint | str | Path, repo_id: str, private: bool = True) -> str:
    """Upload a checkpoint, or a folder that holds one, to the Hub repository `owner/name`; its address there.

    Raises CheckpointError where the folder holds none that can be loaded, or the upload fails.
    """
    if not isinstance(checkpoint, Checkpoint):
        folder = find_folder(checkpoint)
        load_checkpoint(folder, backend="auto")
        return hub.upload(folder, repo_id, private)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "router"
        save_checkpoint(checkpoint, folder)
        return hub.upload(folder, repo_id, private)


def _write(checkpoint: Checkpoint, folder: Path, weights_dtype: str) -> None:
    import torch  # `as_torch` made sure of it

    as_torch(checkpoint.encoder).save_pretrained(folder / LAYOUT.encoder, getattr(torch, weights_dtype))
    state = {name: _stored(host(each)) for name, each in checkpoint.network.state_dict().items()}
    (folder / LAYOUT.heads).write_bytes(safetensors.save(state, metadata={"format": "pt"}))
    (folder / LAYOUT.taxonomy).write_text(checkpoint.taxonomy.to_json(), encoding="utf-8")
    (folder / LAYOUT.profiles).write_text(_profiles_text(checkpoint), encoding="utf-8")
    if checkpoint.dial_tables:
        (folder / LAYOUT.dials).write_text(tables_to_json(checkpoint.dial_tables), encoding="utf-8")
    if checkpoint.benchmarks.scores:
        (folder / LAYOUT.benchmarks).write_text(checkpoint.benchmarks.to_json(), encoding="utf-8")
    write_onboarded(checkpoint.onboarded, folder / LAYOUT.onboarded)
    card = checkpoint.card if checkpoint.card.startswith("---\n") else FRONT_MATTER + checkpoint.card
    (folder / LAYOUT.card).write_text(card, encoding="utf-8")
    config = {
        "format_version": FORMAT_VERSION,
        "encoder": {
            "max_tokens": checkpoint.encoder.max_tokens,
            "head_share": checkpoint.encoder.head_share,
            "layers": checkpoint.encoder.layers,
            "correct_typos": checkpoint.encoder.correct_typos,
        },
        "dimensions": asdict(checkpoint.network.size),
        "default_pool": checkpoint.default_pool,
        "weights_dtype": weights_dtype,
        "training": checkpoint.training,
        "protocols": checkpoint.protocols,
        "systems": [system.id for system in checkpoint.systems],
        "sha256": seal(folder),
    }
    try:
        text = config_text(config)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"`training` of a checkpoint must be plain JSON values: {error}") from error
    (folder / LAYOUT.config).write_text(text, encoding="utf-8")


def _profiles_text(checkpoint: Checkpoint) -> str:
    """The content of `profiles.json`, read back at once: what cannot be read is never written."""
    try:
        text = profiles_to_json(checkpoint.models, checkpoint.pools)
        again = profiles_from_json(text, checkpoint.systems)
    except RouterError as error:
        raise CheckpointError(f"these models and pools cannot be saved: {error}") from error
    if again != (checkpoint.models, checkpoint.pools):
        raise CheckpointError("these models and pools cannot be saved: each must be keyed by its own id or name")
    return text


def _parsed(file: Path, parse: Callable[[str], T]) -> T:
    """What `parse` makes of the file's text; its CheckpointError with the file's name in front."""
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (CheckpointError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def _read_card(file: Path) -> str:
    """The card; nothing where it was deleted, since no decision depends on it."""
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _system(name: str) -> System:
    model, separator, protocol = name.rpartition("@")
    if not separator:
        raise ValueError(f"system {name!r} is not spelt model@protocol")
    return System(model, protocol)


def _stored(array: NDArray[Any]) -> NDArray[Any]:
    """As it is written: floats in float32."""
    return np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else array.dtype)


def _load_network(file: Path, size: Dimensions, backend: str, device: str) -> Network:
    served = OnnxNetwork.read(file, size)
    if not uses_torch(backend):
        return served
    from router.network.torch_network import RouterNetwork

    return RouterNetwork.of_state(size, served.state_dict()).to(device)


def _check_consistent(checkpoint: Checkpoint, what: str, dtype: str = "float32") -> None:
    """CheckpointError, opening with `what`, that lists every part that does not fit the others.

    Weights of the encoder must be finite in `dtype`, the network's in float32.
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
    problems += _onboarding_problems(checkpoint)
    problems += [
        f"pool {pool.name!r} says where {each.id} answers (upstream), which only a pool file of the operator may: it "
        "would be sent the operator's keys"
        for pool in [*checkpoint.pools.values(), *checkpoint.onboarded.pools]
        for each in pool.candidates
        if each.upstream is not None
    ][:10]
    problems += [f"protocol {name!r} must not contain @" for name in checkpoint.protocols if "@" in name]
    if checkpoint.default_pool not in checkpoint.pools:
        known = known_names(checkpoint.default_pool, checkpoint.pools)
        problems.append(f"the default pool {checkpoint.default_pool!r} is none of its pools; {known}")
    not_finite = {("network", "float32"): checkpoint.network.not_finite()}
    if not isinstance(checkpoint.encoder, OnnxEncoder):  # which looks at its weights itself, and keeps none
        not_finite = {("encoder", dtype): checkpoint.encoder.not_finite(dtype)} | not_finite
    for (part, kind), names in not_finite.items():
        problems += [f"weights of the {part} are not finite numbers in {kind}: {name}" for name in names[:5]]
    if problems:
        raise CheckpointError(f"{what}: {'; '.join(problems)}")


def _onboarding_problems(checkpoint: Checkpoint) -> list[str]:
    """Every onboarded profile that does not fit the trained router."""
    length, problems = checkpoint.network.size.columns + 2, []
    seen = set(checkpoint.systems)
    problems += [
        f"onboarded pool {pool.name!r} has the name of a trained one"
        for pool in checkpoint.onboarded.pools
        if pool.name in checkpoint.pools
    ]
    for each in checkpoint.onboarded.profiles:
        if each.like not in checkpoint.protocols:
            problems.append(f"onboarded {each.system.id!r} is like protocol {each.like!r}, which it has not")
        if len(each.row) != length or len(each.covariance_factor) != length:
            problems.append(f"onboarded {each.system.id!r} has {len(each.row)} numbers, a profile has {length}")
        if each.system in seen:
            problems.append(f"onboarded {each.system.id!r} has a profile already")
        seen.add(each.system)
    return problems[:10]
