"""Export callback: at the end of `fit` the best epoch's weights, not the last ones, become a checkpoint folder.

Loggers get the best epoch's figures as `best/...`; `val/...` ends with those of the last epoch.
"""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from numpy.typing import NDArray

from train.data.datamodule import Batch, RoutingDataModule
from train.data.published_scores import published_scores
from train.export import plots
from train.export.card import write_card
from train.export.checkpoint import export_checkpoint
from train.export.profiles import Rows, fit_profiles
from train.fit.module import RoutingModule
from train.fit.validation import Collected, flat_figures, judge_pools

logger = logging.getLogger(__name__)
Figures = dict[str, dict[str, Any]]  # by pool, then by name
LENGTH_ROWS = 4096  # training rows, evenly spaced, on which predicted answer lengths are matched to measured ones


class ExportRouter(Callback):
    """Exports the router after `fit`.

    Args:
        folder: where the checkpoint folder, its figures and plots go; None: no export, loggers still get the figures.
        name: what the router is called in its card.
        packed: store the encoder's weights in 4 and 8 bits (`router.onnx.packed_weights`).
    """

    def __init__(self, folder: str | None = None, name: str = "router", packed: bool = False) -> None:
        self.folder = Path(folder) if folder else None
        self.name = name
        self.packed = packed

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Load the best weights, export them and log their figures, on rank 0."""
        unused = self.folder is None and not trainer.loggers
        if unused or trainer.global_rank != 0 or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        assert isinstance(pl_module, RoutingModule)
        datamodule: RoutingDataModule = trainer.datamodule  # type: ignore[attr-defined]
        best = load_best(trainer, pl_module)
        if pl_module.options.prototypes:
            refit_profiles(pl_module, datamodule)
        validation = collect(pl_module, datamodule, datamodule.training_data.val_rows)
        table, data = pl_module.network.profiles, datamodule.training_data
        judged = judge_pools(validation, table, data)
        reports = {name: each.report() for name, each in judged.items()}
        figures = {name: asdict(report) for name, report in reports.items()}
        final = {f"best/{name}": value for name, value in flat_figures(reports, validation, data).items()}
        final |= {} if best is None else {"best/epoch": float(best)}
        with tempfile.TemporaryDirectory() as scratch:  # for the plots of a run that exports nothing
            out = Path(scratch)
            if self.folder is not None:
                self._export(self.folder, pl_module, datamodule, validation, figures, best)
                out = self.folder.parent
            (out / "validation.json").write_text(json.dumps(figures, indent=1) + "\n")
            curves = {name: each.hulls() for name, each in judged.items()}
            images = {
                "cost_quality": plots.cost_quality(curves, out / "cost_quality.png"),
                "profiles": plots.profile_heat_map(table, data, out / "profiles.png"),
            }
            log_report(trainer.loggers, images, figures, final, trainer.global_step)

    def _export(
        self,
        folder: Path,
        module: RoutingModule,
        datamodule: RoutingDataModule,
        validation: Collected,
        figures: Figures,
        best: int | None,
    ) -> None:
        data = datamodule.training_data
        training = collect(module, datamodule, evenly_spaced(data.train_rows, LENGTH_ROWS))
        encoder = module.encoder or datamodule.encoder
        metadata = {
            "name": self.name,
            "base_model": encoder.described.config.get("_name_or_path"),  # as transformers names a model's origin
            "seed": datamodule.options.seed,
            "best_epoch": best,
            "data": dict(datamodule.hparams),
            "model": dict(module.hparams),
        }
        card = write_card(self.name, data, metadata, figures)
        parts = module.network.cpu(), encoder.cpu(), data, validation, training
        export_checkpoint(*parts, folder, card, metadata, self.packed)
        logger.info("exported %s (best epoch %s)", folder, best)


def log_report(
    loggers: Sequence[Logger], images: Mapping[str, Path], figures: Figures, final: dict[str, float], step: int
) -> None:
    """Log the best epoch's metrics; to loggers that accept images (Weights & Biases) also the plots and a table."""
    for log in loggers:
        log.log_metrics(final, step)
        if hasattr(log, "log_image") and hasattr(log, "log_table"):
            for key, file in images.items():
                log.log_image(key=key, images=[str(file)])
            columns = ["pool", *next(iter(figures.values()))] if figures else ["pool"]
            log.log_table(key="validation", columns=columns, data=[[n, *r.values()] for n, r in figures.items()])


def load_best(trainer: L.Trainer, module: RoutingModule) -> int | None:
    """The best epoch, after loading its weights into `module`; None where no best checkpoint was kept."""
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not path:
        logger.warning("no best checkpoint was kept (no ModelCheckpoint with a monitor): exporting the last epoch")
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    return int(state["epoch"])


@torch.no_grad()
def refit_profiles(module: RoutingModule, datamodule: RoutingDataModule) -> None:
    """Fit the network's prototypes and profiles on training rows, and the weights of their parts on validation rows."""
    module.eval()
    data, device = datamodule.training_data, module.device
    number, benchmarks = pd.factorize(data.dataset.queries["benchmark"])

    def observed(rows: NDArray[np.intp]) -> Rows:
        hidden = [module.network.heads.hidden(module.embed(batch)) for batch in batches(module, datamodule, rows)]
        scores = (data.tensors[name][rows] for name in ("score", "seen"))
        return Rows(torch.cat(hidden).float().cpu(), torch.from_numpy(number[rows]), *scores)

    train, val = observed(data.train_rows), observed(data.val_rows)
    trained = set(benchmarks[np.unique(number[data.train_rows])])
    published = published_scores(data.dataset, data.systems, trained)
    fit_profiles(module.network.cpu(), train, val, published, datamodule.options.seed)
    module.network.to(device)


def batches(module: RoutingModule, datamodule: RoutingDataModule, rows: NDArray[np.intp]) -> Iterator[Batch]:
    """The batches of `rows` in their order, on the module's device."""
    for start in range(0, len(rows), datamodule.options.val_batch_size):
        batch: Batch = datamodule.collate(rows[start : start + datamodule.options.val_batch_size].tolist())
        yield {name: tensor.to(module.device) for name, tensor in batch.items()}


@torch.no_grad()
def collect(module: RoutingModule, datamodule: RoutingDataModule, rows: NDArray[np.intp]) -> Collected:
    """Run the network over `rows` in evaluation mode."""
    module.eval()
    parts = [module.predict_step(batch, 0) for batch in batches(module, datamodule, rows)]
    return Collected(*(torch.cat(columns).cpu() for columns in zip(*parts, strict=True)))


def evenly_spaced(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most `most` of `rows`, evenly spaced.

    >>> evenly_spaced(np.arange(10), 5).tolist()
    [0, 2, 4, 6, 9]
    """
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]
