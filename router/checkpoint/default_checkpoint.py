"""Default checkpoint: ROUTER_CHECKPOINT, then the one in a clone, then the one in an installed data package.

The content of the checkpoint is not read.
"""

import os
from importlib.util import find_spec
from pathlib import Path

from router.errors import CheckpointError
from router.installation import SHIPPED_CHECKPOINT, how_to_get_checkpoint

CHECKPOINT_VARIABLE = "ROUTER_CHECKPOINT"
PACKAGE = "inferencedynamics_checkpoint"  # in the wheel that scripts/checkpoint_wheel builds


def default_checkpoint() -> str:
    """The path or Hub id of the default checkpoint.

    Raises CheckpointError if there is none; the message says where it looked and how to get one.
    """
    if os.environ.get(CHECKPOINT_VARIABLE):
        return os.environ[CHECKPOINT_VARIABLE]
    packaged = _packaged()
    for folder in (SHIPPED_CHECKPOINT, packaged):
        if folder is not None and (folder / "config.json").is_file():
            return str(folder)
    package = PACKAGE.replace("_", "-")
    raise CheckpointError(
        f"no checkpoint is named, {CHECKPOINT_VARIABLE} is not set, there is none at {SHIPPED_CHECKPOINT}, and "
        + (f"the package {package} is not installed" if packaged is None else f"{packaged} holds none")
        + f"{_others()}: {how_to_get_checkpoint()}"
    )


def _packaged() -> Path | None:
    """The checkpoint folder of the data package; None if the package is not installed."""
    spec = find_spec(PACKAGE)
    return Path(spec.submodule_search_locations[0]) / "checkpoint" if spec and spec.submodule_search_locations else None


def _others() -> str:
    """The checkpoints beside the default one of the clone, for a message."""
    found = sorted(str(file.parent) for file in SHIPPED_CHECKPOINT.parent.glob("*/config.json"))
    return f" (but there is {', '.join(found[:5])})" if found else ""
