"""The runs of a comparison, one per method, as `python -m train runs` reads them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from train.compare.report.tracking import track
from train.compare.settings import Settings
from train.compare.stats.tally import ALL
from train.runs.store import read_folders


def test_each_method_is_a_run_with_its_figures_and_the_plots_are_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_SILENT", "WANDB_CONSOLE"):
        monkeypatch.setenv(name, "")  # restored after `track`, which sets them
    monkeypatch.setenv("WANDB_MODE", "offline")
    Figure().savefig(tmp_path / "plot.png")
    baselines = {"knn": (0,), "ridge": (0, 1)}
    settings = Settings(name="t", pools=("p",), regimes=("ood",), baselines=baselines, out=str(tmp_path / "out"))
    row = {"part": ALL, "subset": ALL, "seed": None, "regime": "ood", "pool": "p", "metric": "aiq"}
    frame = pd.DataFrame([{**row, "method": "knn", "value": 0.5}, {**row, "method": "ridge", "value": 0.6}])
    track(frame, settings, [tmp_path / "plot.png"])
    runs = read_folders([tmp_path])
    assert {run.name: run.metrics for run in runs} == {"knn": {"ood/p/aiq": 0.5}, "ridge": {"ood/p/aiq": 0.6}}
    assert {(run.group, run.tags, run.state) for run in runs} == {("compare-t", ("compare", "ood"), "finished")}
    assert {run.name: run.config["seeds"] for run in runs} == {"knn": [0], "ridge": [0, 1]}
    assert len([path for path in tmp_path.rglob("*.png") if "media" in path.parts]) == 1
    monkeypatch.setenv("WANDB_MODE", "disabled")
    track(frame, settings, [])
    assert len(read_folders([tmp_path])) == 2
