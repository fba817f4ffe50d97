"""Weights & Biases runs of a comparison, one per method under one group; `train.runs.wandb_logger` says where to."""

import os
from pathlib import Path

import pandas as pd

from train.compare.settings import Settings
from train.compare.stats.tally import ALL
from train.runs.wandb_logger import RunLogger, resolve_mode


def track(frame: pd.DataFrame, settings: Settings, pictures: list[Path]) -> None:
    """Start, fill and finish a run per method; the reference's run holds the plots."""
    if resolve_mode("auto") == "disabled":
        return
    os.environ |= {"WANDB_SILENT": "true", "WANDB_CONSOLE": "off"}
    for method, seeds in settings.methods.items():
        tags = ["compare", *settings.regimes]
        log = RunLogger(name=method, group=f"compare-{settings.name}", tags=tags, save_dir=settings.out)
        config = settings.model_dump()
        log.log_hyperparams(config | {"method": method, "seeds": seeds, "configuration": settings.config_of(method)})
        log.log_metrics(summary(frame, method))
        for picture in pictures if method == settings.reference else ():
            log.log_image(picture.stem, [str(picture)])
        log.finalize("success")
        log.experiment.finish()


def summary(frame: pd.DataFrame, method: str) -> dict[str, float]:
    """A method's figures over all parts and seeds as REGIME/POOL/METRIC; curves are in the Parquet file alone."""
    rows = frame[(frame["method"] == method) & (frame["part"] == ALL) & (frame["subset"] == ALL) & frame["seed"].isna()]
    single = rows[~rows.duplicated(["regime", "pool", "metric"], keep=False) & rows["value"].notna()]
    return {f"{row.regime}/{row.pool}/{row.metric}": float(row.value) for row in single.itertuples()}
