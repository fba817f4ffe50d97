"""Weights & Biases runs of a comparison, one per method under one group; `train.runs.wandb_logger` says where to."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from router.errors import UsageError
from router.installation import how_to_install
from train.compare.settings import Settings
from train.compare.stats.tally import ALL
from train.runs.run_log import PROJECT, RunLog
from train.runs.wandb_logger import resolve_mode


def track(frame: pd.DataFrame, settings: Settings, pictures: list[Path]) -> None:
    """Start, fill and finish a run per method; the reference's run holds the plots."""
    mode = resolve_mode("auto")
    if mode == "disabled":
        return
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise UsageError(f"W&B runs need wandb: {how_to_install('train')}, or set WANDB_MODE=disabled") from error
    for method, seeds in settings.methods.items():
        group, tags, figures = f"compare-{settings.name}", ["compare", *settings.regimes], summary(frame, method)
        config = {
            **settings.model_dump(),
            "method": method,
            "seeds": seeds,
            "configuration": settings.config_of(method),
        }
        run = wandb.init(
            project=PROJECT,
            group=group,
            name=method,
            tags=tags,
            dir=settings.out,
            mode=mode,  # type: ignore[arg-type]
            config=config,
            settings=wandb.Settings(silent=True, console="off"),
        )
        run.summary.update(figures)
        log = RunLog(PROJECT, method, group, tags, settings.out, run.id)
        log.log_hyperparams(config)
        log.log_metrics(figures)
        log.finalize("success")
        if method == settings.reference:
            run.log({picture.stem: wandb.Image(str(picture)) for picture in pictures})
        run.finish()


def summary(frame: pd.DataFrame, method: str) -> dict[str, float]:
    """A method's figures over all parts and seeds as REGIME/POOL/METRIC; curves are in the Parquet file alone."""
    rows = frame[(frame["method"] == method) & (frame["part"] == ALL) & (frame["subset"] == ALL) & frame["seed"].isna()]
    single = rows[~rows.duplicated(["regime", "pool", "metric"], keep=False) & rows["value"].notna()]
    return {f"{row.regime}/{row.pool}/{row.metric}": float(row.value) for row in single.itertuples()}
