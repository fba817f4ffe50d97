"""Weights & Biases logger: online with a key or on request, otherwise offline, and never a prompt."""

from __future__ import annotations

import netrc
import os
from typing import Any, Literal

from lightning.pytorch.loggers import WandbLogger

from router.errors import UsageError
from router.installation import how_to_install

PROJECT = "inferencedynamics"
Mode = Literal["auto", "online", "offline", "disabled"]


class RunLogger(WandbLogger):
    """`WandbLogger` with a mode that is decided before anything is contacted.

    Args:
        project: W&B project.
        name: of the run; None lets W&B choose.
        group: runs that belong together.
        tags: of the run.
        save_dir: where the `wandb/` folder of runs goes.
        mode: auto = WANDB_MODE if set, otherwise online when a key is configured, otherwise offline.
    """

    def __init__(
        self,
        project: str = PROJECT,
        name: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        save_dir: str = "runs",
        mode: Mode = "auto",
    ) -> None:
        os.makedirs(save_dir, exist_ok=True)
        options: dict[str, Any] = {"group": group, "tags": tags, "mode": resolve_mode(mode)}
        try:
            super().__init__(name=name, save_dir=save_dir, project=project, **options)
        except ModuleNotFoundError as error:
            raise UsageError(
                f"the run logger needs wandb: {how_to_install('train')}, or give --trainer.logger false"
            ) from error

    def finalize(self, status: str) -> None:
        """Close a failed run as failed: W&B does not see the exit code of our commands."""
        super().finalize(status)
        if status == "failed" and self._experiment is not None:
            self._experiment.finish(exit_code=1)


def resolve_mode(mode: Mode) -> str:
    """The W&B mode that `mode` stands for.

    >>> resolve_mode("offline")
    'offline'
    """
    if mode != "auto":
        return mode
    return os.environ.get("WANDB_MODE") or ("online" if has_key() else "offline")


def has_key() -> bool:
    """Whether a W&B key is configured, in the environment or in ~/.netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        hosts = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in hosts)
