"""Upgrade of checkpoint folders of earlier formats: graphs, and the heads that they lack, are added.

The new heads leave every decision as it was: levels weigh nothing, the old head of difficulty is the deviation, and all
queries are familiar. The encoder, profiles, pools, dial tables, added models and indexes stay byte for byte.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from router.checkpoint.layout import (
    FORMAT_VERSION,
    LAYOUT,
    UPGRADABLE,
    checksums,
    config_text,
    read_config,
    replacing,
    verify,
)
from router.checkpoint.storage import check_can_export, load_checkpoint, write_graphs
from router.errors import CheckpointError
from router.network.onnx_network import State, read_state
from router.network.vectors import ALWAYS_FAMILIAR, MIDDLE, Dimensions

logger = logging.getLogger(__name__)

ROOT = (1.0, 0.25)  # kernels at which categories counted whole and half: they faded with the kernel's square root


def upgrade_checkpoint(folder: str | Path) -> int:
    """Convert the folder in place, as a whole or not at all; returns the format version that it had.

    Raises CheckpointError for a folder that is missing, altered or of an unknown version, UsageError without torch.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}: give a checkpoint's folder on this machine")
    config = read_config(folder, (*UPGRADABLE, FORMAT_VERSION))
    version: int = config["format_version"]
    if version == FORMAT_VERSION:
        return version
    check_can_export()
    verify(folder, config.get("sha256"), version)
    with replacing(folder) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
        try:
            encoder = {name: config["encoder"][name] for name in ("max_tokens", "layers")} | {"form": False}
            size = Dimensions(**config["dimensions"])
            heads = partial / LAYOUT.heads
            heads.write_bytes(save(_with_level(read_state(heads), size), metadata={"format": "pt"}))
            write_graphs(partial, encoder, size)
            changed = {
                "format_version": FORMAT_VERSION,
                "encoder": encoder,
                "sha256": config["sha256"] | checksums(partial),
            }
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{folder / LAYOUT.config} is broken: {type(error).__name__}: {error}") from error
        (partial / LAYOUT.config).write_text(config_text(config | changed), encoding="utf-8")
        load_checkpoint(partial, backend="auto")
    if config["encoder"].get("correct_typos"):
        logger.warning("typos are no longer corrected: a query with one may be routed differently than before")
    return version


def _with_level(state: State, size: Dimensions) -> dict[str, NDArray[Any]]:
    """The state with the old head of difficulty as the deviation from levels that weigh nothing."""
    zeros = np.zeros(size.protocols, np.float32)
    found = {name.replace("heads.difficulty.", "heads.deviation."): each for name, each in state.items()}
    found |= {"heads.gain": zeros, "heads.shift": zeros}
    found["heads.level.weight"] = np.zeros((1, size.hidden), np.float32)
    found["heads.level.bias"] = np.full(1, MIDDLE, np.float32)
    if size.prototypes:
        found["heads.prototypes.familiar"] = np.array(ALWAYS_FAMILIAR, np.float32)
        found["heads.prototypes.fading"] = np.array(ROOT, np.float32)
    return found
