"""The command `python -m train compare`: runs every method under every regime, judges and reports.

Ties the parts together: settings, cells, figures, then OUT/comparison.parquet, report.md, figures/ and W&B runs.
"""

import argparse
import shlex
import sys
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from router.files import atomic_write
from train.compare.processes import cores, run
from train.compare.report import plots
from train.compare.report.markdown import report
from train.compare.report.tracking import track
from train.compare.runner import fill
from train.compare.settings import Settings, read_settings
from train.compare.stats.judge import judge_pool
from train.compare.stats.tally import table
from train.compare.workplace import Workplace, open_workplace
from train.export.card import measured_by

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
    track(frame, settings, plots.draw(frame, settings, place.out / "figures"))
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
