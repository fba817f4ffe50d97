"""The command `python -m train compare`: runs every method under every regime, judges and reports.

Ties the parts together: settings, cells, figures, then OUT/comparison.parquet, report.md and W&B runs.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from router.errors import UsageError
from router.files import atomic_write
from router.installation import how_to_install
from train.compare.processes import cores, run
from train.compare.report import report
from train.compare.runner import fill
from train.compare.settings import Settings, read_settings
from train.compare.stats.judge import judge_pool
from train.compare.stats.tally import ALL, table
from train.compare.workplace import Workplace, open_workplace
from train.export.card import measured_by
from train.runs.wandb_logger import PROJECT, resolve_mode

DESCRIPTION = (
    "`python -m train compare --config FILE [--config FILE ...]`: every method under every regime, judged and reported."
)


def compare(settings: Settings, workers: int, command: str) -> Path:
    """The report's file of one comparison, run from where an earlier run stopped."""
    progress = sys.stderr.isatty()
    place = open_workplace(settings)
    place.out.mkdir(parents=True, exist_ok=True)
    fill(place, workers, progress)
    frame = judge(place, workers, progress)
    atomic_write(place.out / "comparison.parquet", frame.to_parquet(index=False))
    atomic_write(place.out / "report.md", report(frame, settings, measured_by(command)).encode())
    track(frame, settings)
    return place.out / "report.md"


def judge(place: Workplace, workers: int, progress: bool) -> pd.DataFrame:
    """The tidy table of all regimes and pools, in the settings' order."""
    jobs = [(regime, pool) for regime in place.regimes for pool in place.pools
            if any(pool in place.pools_under(regime, part) for part in regime.parts)]  # fmt: skip
    found = {}
    with tqdm(total=len(jobs), unit="pool", desc="judging", disable=not progress) as bar:
        for rows in run(judge_pool, jobs, place, workers):
            found[rows[0]["regime"], rows[0]["pool"]] = rows
            bar.update()
    return table(row for regime, pool in jobs for row in found[regime.name, pool])


def track(frame: pd.DataFrame, settings: Settings) -> None:
    """Start, fill and finish a W&B run per method under one group; `train.runs.wandb_logger` says where to."""
    mode = resolve_mode("auto")
    if mode == "disabled":
        return
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise UsageError(f"W&B runs need wandb: {how_to_install('train')}, or set WANDB_MODE=disabled") from error
    for method, seeds in settings.methods.items():
        started = wandb.init(
            project=PROJECT,
            group=f"compare-{settings.name}",
            name=method,
            tags=["compare", *settings.regimes],
            dir=settings.out,
            mode=mode,  # type: ignore[arg-type]
            config={**asdict(settings), "method": method, "seeds": seeds, "configuration": settings.config_of(method)},
            settings=wandb.Settings(silent=True, console="off"),
        )
        started.summary.update(summary(frame, method))
        started.finish()


def summary(frame: pd.DataFrame, method: str) -> dict[str, float]:
    """A method's figures over all parts and seeds as REGIME/POOL/METRIC; curves are in the Parquet file alone."""
    rows = frame[(frame["method"] == method) & (frame["part"] == ALL) & (frame["subset"] == ALL) & frame["seed"].isna()]
    single = rows[~rows.duplicated(["regime", "pool", "metric"], keep=False) & rows["value"].notna()]
    return {f"{row.regime}/{row.pool}/{row.metric}": float(row.value) for row in single.itertuples()}


def main(args: list[str] | None = None) -> int:
    """Exit code: 0 when every comparison is done, 1 on an error of ours, 130 when interrupted; argparse exits 2."""
    parser = argparse.ArgumentParser(prog="python -m train compare", description=DESCRIPTION)
    parser.add_argument("--config", action="append", required=True, metavar="FILE", help="may be given several times")
    parser.add_argument("--workers", type=int, default=cores(), help="processes (default: %(default)s, one a core)")
    options = parser.parse_args(args)
    command = "python -m train compare " + " ".join(f"--config {shlex.quote(file)}" for file in options.config)
    try:
        for settings in [read_settings(file) for file in options.config]:
            print(compare(settings, options.workers, command))
    except KeyboardInterrupt:
        print("train: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0
