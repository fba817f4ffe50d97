"""Log of a training run on this machine: a folder with `run.json` (name, configuration, state) and `metrics.csv`.

Each row is written when it is logged, so of a killed run all but the last row reads back. `train.runs.wandb_logger`
writes one beside each W&B run; as a trainer's logger it needs no W&B. `train.runs.store` reads the folders.
"""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from router.files import atomic_path
from train.runs.store import LOG, Run, flat, write_run

PROJECT = "inferencedynamics"
STATES = {"success": "finished", "failed": "failed"}  # by Lightning's word


class AtomicWriter(ExperimentWriter):
    """Lightning's CSV file, which stays whole when the process is killed while a new column is added."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        file = self.metrics_file_path
        with atomic_path(Path(file)) as sibling:
            shutil.copy(file, sibling)
            self.metrics_file_path = str(sibling)
            try:
                super()._rewrite_with_new_header(fieldnames)
            finally:
                self.metrics_file_path = file


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

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The open CSV file; the run exists on the disk from the first call on."""
        if self._experiment is None:
            self._experiment = AtomicWriter(self.log_dir)
            self._keep()
        return self._experiment

    def _keep(self, **changes: Any) -> None:
        self.run = replace(self.run, **changes)
        write_run(self.run, Path(self.log_dir, LOG))

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace | None = None) -> None:
        """Add `params` to the run's configuration."""
        values = vars(params) if isinstance(params, Namespace) else params or {}
        self.run.config.update(flat(values))
        self.experiment.save()
        self._keep()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Note how the run ended."""
        super().finalize(status)
        if self._experiment is not None:
            self._keep(state=STATES.get(status, "unfinished"))
