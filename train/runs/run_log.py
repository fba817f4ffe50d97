"""Log of a training run on this machine: a folder with `run.json` (configuration, last metrics) and `metrics.csv`.

`run.json` is replaced whenever something is logged, so what a killed run had logged reads back. `RunLogger` in
`train.runs.wandb_logger` keeps one beside each W&B run; as a trainer's logger it needs no W&B.
"""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger

from train.runs.store import LOG, Run, finite, flat, write_run

PROJECT = "inferencedynamics"
STATES = {"success": "finished", "failed": "failed"}  # by Lightning's word


class RunLog(CSVLogger):
    """`CSVLogger` that also keeps what a list of runs shows.

    Args:
        project: folder in `save_dir` that holds a folder for each run.
        name: of the run; None: its id.
        group: runs that belong together.
        tags: of the run.
        save_dir: where the project's folder goes.
        id: folder of the run; None: a new one.
    """

    def __init__(
        self,
        project: str = PROJECT,
        name: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        save_dir: str = "runs",
        id: str | None = None,
    ) -> None:
        id = id or uuid4().hex[:8]
        super().__init__(save_dir, project, id, flush_logs_every_n_steps=1)
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.run = Run(id, name or id, group or "", tuple(tags or ()), "unfinished", started, {}, {})
        self.last: dict[str, Any] = {}

    def _keep(self, **changes: Any) -> None:
        _ = self.experiment  # it makes the folder
        self.run = replace(self.run, **changes)
        write_run(self.run, Path(self.log_dir, LOG))

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace | None = None) -> None:
        """Add `params` to the run's configuration."""
        values = vars(params) if isinstance(params, Namespace) else params or {}
        self._keep(config={**self.run.config, **dict(flat(values))})

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a row of the numbers in `metrics`; images and tables are for W&B alone."""
        numbers: dict[str, Any] = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
        if numbers:
            super().log_metrics(numbers, step)
            self.last |= numbers if step is None else {**numbers, "trainer/global_step": step}  # W&B's name
            self._keep(metrics=finite(self.last))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Note how the run ended."""
        super().finalize(status)
        if self._experiment is not None:
            self._keep(state=STATES.get(status, "unfinished"))
