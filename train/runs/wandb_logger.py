"""Weights & Biases logger: online with a key or on request, otherwise offline, and never a prompt.

`python -m train runs` does not read W&B's files: a `RunLog` of the same id is written beside them, in every mode.
"""

import netrc
import os
from argparse import Namespace
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any, Literal

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import WandbLogger

from router.errors import UsageError
from router.installation import how_to_install
from train.runs.run_log import PROJECT, RunLog

Mode = Literal["auto", "online", "offline", "disabled"]


class RunLogger(WandbLogger):
    """`WandbLogger` with a mode that is decided before anything is contacted, and a `RunLog` beside it.

    Args:
        project: W&B project.
        name: of the run; None lets W&B choose.
        group: runs that belong together.
        tags: of the run.
        save_dir: where the folders of runs go: `wandb/`, and one called as the project for `RunLog`.
        mode: of W&B; auto = WANDB_MODE if set, otherwise online when a key is configured, otherwise offline.
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
                f"the run logger needs wandb: {how_to_install('train')}, or log on this machine alone: "
                "--trainer.logger train.runs.run_log.RunLog"
            ) from error
        self.start_log = partial(RunLog, project, name, group, tags, save_dir)

    @cached_property
    def run_log(self) -> RunLog:
        """Our own log; it starts with the W&B run, whose id it has."""
        return self.start_log(self.experiment.id)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Log the settings to both."""
        super().log_hyperparams(params)
        self.run_log.log_hyperparams(params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the metrics to both."""
        super().log_metrics(metrics, step)
        self.run_log.log_metrics(metrics, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close both logs; a failed run as failed, since W&B does not see the exit code of our commands."""
        super().finalize(status)
        if self._experiment is not None:
            self.run_log.finalize(status)
            if status == "failed":
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
