"""Storage of checkpoints: save to a folder, load and verify one, push one to the Hugging Face Hub.

A checkpoint is written as safetensors and JSON, as a whole or not at all, and never as a pickle. `layout` names the
files, `profiles_file` defines `profiles.json`.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import numpy as safetensors

from router import hub
from router.arrays import host
from router.checkpoint.added_models import read_added_models, write_added_models
from router.checkpoint.benchmark_scores import BenchmarkScores
from router.checkpoint.checkpoint import Checkpoint, check_consistent
from router.checkpoint.layout import (
    FORMAT_VERSION,
    LAYOUT,
    checksums,
    config_text,
    find_folder,
    profiles_checksum,
    read_config,
    replacing,
    verify,
)
from router.checkpoint.profiles_file import profiles_from_json, profiles_to_json
from router.encoding.backend import as_torch, choose_backend, load_encoder, uses_torch
from router.errors import CheckpointError, RouterError, UsageError
from router.installation import how_to_install
from router.network.onnx_network import OnnxNetwork, read_state
from router.network.taxonomy import Taxonomy
from router.network.vectors import Dimensions
from router.onnx.weights import StoredWeights
from router.policy.goals import tables_from_json, tables_to_json
from router.pools.models import System

if TYPE_CHECKING:
    from torch import dtype as Dtype

    from router.checkpoint.checkpoint import Network

logger = logging.getLogger(__name__)
T = TypeVar("T")
WEIGHTS_DTYPES = ("float16", "bfloat16", "float32")
FRONT_MATTER = "---\nlicense: apache-2.0\nlibrary_name: inferencedynamics\ntags: [llm-routing, router]\n---\n\n"


def save_checkpoint(
    checkpoint: Checkpoint, folder: str | Path, weights_dtype: str | Dtype = "float16", packed: bool | None = None
) -> None:
    """Write the folder, with the encoder's weights in `weights_dtype` (float16, bfloat16 or float32, also torch's).

    With `packed` they are stored in 4 and 8 bits, and in float16 what is no matrix; None: as the encoder was read.
    An old checkpoint is replaced as a whole, and only when the new one is complete. A card without front matter gets
    FRONT_MATTER. Raises CheckpointError if `folder` holds anything but a checkpoint or `checkpoint` is inconsistent,
    UsageError for another dtype or without torch.
    """
    dtype = str(weights_dtype).removeprefix("torch.")
    if dtype not in WEIGHTS_DTYPES:
        raise UsageError(f"weights_dtype must be one of {', '.join(WEIGHTS_DTYPES)}, got {weights_dtype}")
    check_can_export()
    checkpoint = replace(checkpoint, encoder=as_torch(checkpoint.encoder))
    packed = checkpoint.encoder.described.packed if packed is None else packed
    if packed and dtype != "float16":
        raise UsageError(f"packed weights have no weights_dtype {dtype}: leave it out, or say packed=False")
    check_consistent(checkpoint, "this checkpoint cannot be saved", dtype)
    with replacing(Path(folder)) as partial:
        _write(checkpoint, partial, dtype, packed)


def load_checkpoint(path_or_hub_id: str | Path, device: str = "cpu", backend: str = "torch") -> Checkpoint:
    """The checkpoint in a folder or a Hub repository, verified, in evaluation mode on `device`.

    `backend`, of `router.options.BACKENDS`, computes the encoder, and onnxruntime the network too. Raises
    CheckpointError for files that are missing, altered, of an unknown version or inconsistent, UsageError for a backend
    that cannot be used.
    """
    folder = find_folder(path_or_hub_id)
    config = read_config(folder)
    verify(folder, config.get("sha256"))
    chosen = choose_backend(backend, device, folder / LAYOUT.encoder)
    try:
        systems = tuple(_system(name) for name in config["systems"])
        unchanged = config.get("profiles_sha256") == profiles_checksum(folder)
        models, pools = _parsed(folder / LAYOUT.profiles, lambda text: profiles_from_json(text, systems, unchanged))
        checkpoint = Checkpoint(
            encoder=load_encoder(folder / LAYOUT.encoder, config["encoder"], chosen, device),
            network=_load_network(folder, Dimensions(**config["dimensions"]), chosen, device),
            taxonomy=_parsed(folder / LAYOUT.taxonomy, Taxonomy.from_json),
            systems=systems,
            protocols=tuple(config["protocols"]),
            models=models,
            pools=pools,
            default_pool=str(config["default_pool"]),
            card=_read_card(folder / LAYOUT.card),
            training=dict(config["training"]),
            dial_tables=_parsed_if_there(folder / LAYOUT.dials, tables_from_json) or {},
            benchmarks=_parsed_if_there(folder / LAYOUT.benchmarks, BenchmarkScores.from_json) or BenchmarkScores(),
            added_models=read_added_models(folder / LAYOUT.added_models),
        )
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise CheckpointError(f"{folder / LAYOUT.config} is broken: {type(error).__name__}: {error}") from error
    check_consistent(checkpoint, str(folder))
    return checkpoint


def push_checkpoint(checkpoint: Checkpoint | str | Path, repo_id: str, private: bool = True) -> str:
    """Upload a checkpoint, or the folder of one, to the Hub repository `owner/name`; returns its address there.

    Raises CheckpointError if the folder cannot be loaded or the upload fails.
    """
    if not isinstance(checkpoint, Checkpoint):
        folder = find_folder(checkpoint)
        load_checkpoint(folder, backend="auto")
        return hub.upload(folder, repo_id, private)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "router"
        save_checkpoint(checkpoint, folder)
        return hub.upload(folder, repo_id, private)


def _write(checkpoint: Checkpoint, folder: Path, weights_dtype: str, packed: bool) -> None:
    import torch  # `save_checkpoint` made sure that it is installed

    as_torch(checkpoint.encoder).save_pretrained(folder / LAYOUT.encoder, getattr(torch, weights_dtype), packed)
    state = {name: _stored(host(each)) for name, each in checkpoint.network.state_dict().items()}
    (folder / LAYOUT.heads).write_bytes(safetensors.save(state, metadata={"format": "pt"}))
    (folder / LAYOUT.taxonomy).write_text(checkpoint.taxonomy.to_json(), encoding="utf-8")
    (folder / LAYOUT.profiles).write_text(_profiles_text(checkpoint), encoding="utf-8")
    if checkpoint.dial_tables:
        (folder / LAYOUT.dials).write_text(tables_to_json(checkpoint.dial_tables), encoding="utf-8")
    if checkpoint.benchmarks.scores:
        (folder / LAYOUT.benchmarks).write_text(checkpoint.benchmarks.to_json(), encoding="utf-8")
    write_added_models(checkpoint.added_models, folder / LAYOUT.added_models)
    card = checkpoint.card if checkpoint.card.startswith("---\n") else FRONT_MATTER + checkpoint.card
    (folder / LAYOUT.card).write_text(card, encoding="utf-8")
    encoder = {name: getattr(checkpoint.encoder, name) for name in ("max_tokens", "layers", "form")}
    write_graphs(folder, encoder, checkpoint.network.size)
    config = {
        "format_version": FORMAT_VERSION,
        "encoder": encoder,
        "dimensions": asdict(checkpoint.network.size),
        "default_pool": checkpoint.default_pool,
        "weights_dtype": weights_dtype,
        "training": checkpoint.training,
        "protocols": checkpoint.protocols,
        "systems": [system.id for system in checkpoint.systems],
        "sha256": checksums(folder),
        "profiles_sha256": profiles_checksum(folder),
    }
    try:
        text = config_text(config)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"`training` of a checkpoint must be plain JSON values: {error}") from error
    (folder / LAYOUT.config).write_text(text, encoding="utf-8")


def check_can_export() -> None:
    """UsageError where a package is missing that exports networks."""
    if missing := [name for name in ("torch", "transformers", "onnx", "onnxscript") if find_spec(name) is None]:
        raise UsageError(f"saving a checkpoint needs {', '.join(missing)}: {how_to_install('torch')}")


def write_graphs(folder: Path, encoder: Mapping[str, Any], size: Dimensions) -> None:
    """Export the encoder and the heads in `folder`, of these settings and this size, for onnxruntime.

    An encoder that cannot be exported is left without graphs, with a warning: torch alone can serve it. Raises
    CheckpointError where the heads' weights do not fit.
    """
    from router.encoding.onnx_export import write_graphs as write_encoder  # needs torch and onnx
    from router.network.onnx_export import heads_graph

    graph = heads_graph(size, StoredWeights.read(folder / LAYOUT.heads), LAYOUT.heads)
    (folder / LAYOUT.heads_graph).write_bytes(graph)
    try:
        write_encoder(folder / LAYOUT.encoder, encoder["max_tokens"], encoder["layers"])
    except CheckpointError as error:
        logger.warning("the encoder gets no graph, so that only the backend torch can serve it: %s", error)


def _profiles_text(checkpoint: Checkpoint) -> str:
    """The text of `profiles.json`, parsed again at once, so that no unreadable file is written."""
    try:
        text = profiles_to_json(checkpoint.models, checkpoint.pools)
        again = profiles_from_json(text, checkpoint.systems)
    except RouterError as error:
        raise CheckpointError(f"these models and pools cannot be saved: {error}") from error
    if again != (checkpoint.models, checkpoint.pools):
        raise CheckpointError("these models and pools cannot be saved: each must be keyed by its own id or name")
    return text


def _parsed(file: Path, parse: Callable[[str], T]) -> T:
    """The file's text, parsed; a CheckpointError of `parse` gets the file's name in front."""
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (CheckpointError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def _parsed_if_there(file: Path, parse: Callable[[str], T]) -> T | None:
    """As `_parsed`; None for a missing file, as older checkpoints lack some."""
    return _parsed(file, parse) if file.is_file() else None


def _read_card(file: Path) -> str:
    """The card; empty if it was deleted, since no decision depends on it."""
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _system(name: str) -> System:
    model, separator, protocol = name.rpartition("@")
    if not separator:
        raise ValueError(f"system {name!r} is not spelt model@protocol")
    return System(model, protocol)


def _stored(array: NDArray[Any]) -> NDArray[Any]:
    """The array as it is written: floats in float32."""
    return np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else array.dtype)


def _load_network(folder: Path, size: Dimensions, backend: str, device: str) -> Network:
    file = folder / LAYOUT.heads
    if not uses_torch(backend):
        return OnnxNetwork.read(file, folder / LAYOUT.heads_graph, size)
    from router.network.torch_network import RouterNetwork

    try:
        return RouterNetwork.of_state(size, read_state(file)).to(device)
    except RuntimeError as error:  # of load_state_dict
        raise CheckpointError(f"{file} does not fit the dimensions in config.json: {error}") from error
