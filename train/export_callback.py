"""At the end of `fit`: the best epoch's weights, not the last ones, become a checkpoint folder with its figures."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from train import plots
from train.card import write_card
from train.data import Batch, RoutingDataModule
from train.export import export_checkpoint
from train.module import RoutingModule
from train.validation import Collected, pool_curves, pool_reports

logger = logging.getLogger(__name__)
LENGTH_ROWS = 4096  # training rows, evenly spread, on which mean answer lengths are matched


class ExportRouter(Callback):
    """Exports the router after `fit`.

    Args:
        folder: where the checkpoint folder, its figures and plots go; None: no export.
        name: what the router is called in its card.
    """

    def __init__(self, folder: str | None = None, name: str = "router") -> None:
        self.folder = Path(folder) if folder else None
        self.name = name

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Load the best weights and export them, on rank 0."""
        if self.folder is None or trainer.global_rank != 0 or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        assert isinstance(pl_module, RoutingModule)
        data: RoutingDataModule = trainer.datamodule  # type: ignore[attr-defined]
        best = load_best(trainer, pl_module)
        validation = collect(pl_module, data, data.world.val_rows)
        training = collect(pl_module, data, spread(data.world.train_rows, LENGTH_ROWS))
        metadata = {
            "name": self.name,
            "seed": int(data.options.seed),
            "best_epoch": best,
            "data": settings(data.hparams),
            "model": settings(pl_module.hparams),
        }
        encoder = pl_module.encoder or data.encoder
        figures = self._figures(pl_module, validation, data)
        card = write_card(self.name, data.world, metadata, figures)
        export_checkpoint(
            pl_module.network.cpu(), encoder.cpu(), data.world, validation, training, self.folder, card, metadata
        )
        self._report(trainer, pl_module, validation, data, figures)
        logger.info("exported %s (best epoch %s)", self.folder, best)

    def _figures(self, module: RoutingModule, validation: Collected, data: RoutingDataModule) -> dict[str, Any]:
        reports = pool_reports(validation, module.network.profiles, data.world)
        return {name: asdict(report) for name, report in reports.items()}

    def _report(
        self, trainer: L.Trainer, module: RoutingModule, validation: Collected, data: RoutingDataModule, figures: Any
    ) -> None:
        """Validation figures as JSON, plots as PNG beside the checkpoint, both to Weights & Biases where it is on."""
        assert self.folder is not None
        out = self.folder.parent
        (out / "validation.json").write_text(json.dumps(figures, indent=1) + "\n")
        table = module.network.profiles
        images = {
            "cost_quality": plots.cost_quality(pool_curves(validation, table, data.world), out / "cost_quality.png"),
            "profiles": plots.profile_heat_map(table, data.world, out / "profiles.png"),
        }
        for log in trainer.loggers:
            if hasattr(log, "log_image") and hasattr(log, "log_table"):
                for key, file in images.items():
                    log.log_image(key=key, images=[str(file)])
                columns = ["pool", *next(iter(figures.values()))] if figures else ["pool"]
                log.log_table(key="validation", columns=columns, data=[[n, *r.values()] for n, r in figures.items()])


def load_best(trainer: L.Trainer, module: RoutingModule) -> int | None:
    """Load the weights of the checkpoint callback's best epoch into `module`; its epoch, None if none was kept."""
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not path:
        logger.warning("no best checkpoint was kept (no ModelCheckpoint with a monitor): exporting the last epoch")
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    return int(state["epoch"])


@torch.no_grad()
def collect(module: RoutingModule, data: RoutingDataModule, rows: NDArray[np.intp]) -> Collected:
    """Run the network over `rows` in evaluation mode."""
    module.eval()
    parts = []
    for start in range(0, len(rows), data.options.val_batch_size):
        batch: Batch = data.collate(rows[start : start + data.options.val_batch_size].tolist())
        parts.append(module.predict_step({k: v.to(module.device) for k, v in batch.items()}, 0))
    return Collected(*(torch.cat(columns).cpu() for columns in zip(*parts, strict=True)))


def spread(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most `most` of `rows`, evenly spaced.

    >>> spread(np.arange(10), 5).tolist()
    [0, 2, 4, 6, 9]
    """
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def settings(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters in a JSON-able form, without what Lightning's command line adds for itself.

    >>> settings({"folds": (1, 2), "_instantiator": "x"})
    {'folds': [1, 2]}
    """
    return {k: list(v) if isinstance(v, tuple) else v for k, v in hparams.items() if not k.startswith("_")}
