"""Plots of a comparison, from its tidy table alone: one PNG per regime and kind, one panel per pool.

Only the reference method and the best others are drawn; the table has all.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from train.compare.settings import Settings
from train.compare.stats.tally import POOL, select

MOST = 6  # methods in one panel


def draw(frame: pd.DataFrame, settings: Settings, folder: Path) -> list[Path]:
    """Files of all plots, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for regime in frame["regime"].dropna().unique():
        of_regime = frame[frame["regime"] == regime]
        files += [
            _panels(of_regime, settings.reference, panel, folder / f"{regime}-{panel.__name__}.png")
            for panel in (cost_quality, collapse, reliability)
        ]
    return files


def _panels(
    frame: pd.DataFrame, reference: str, panel: Callable[[Any, pd.DataFrame, list[str]], None], file: Path
) -> Path:
    from matplotlib.figure import Figure

    pools = list(frame["pool"].unique())
    figure = Figure(figsize=(4.4 * len(pools), 4.0), layout="constrained")
    for place, pool in enumerate(pools, start=1):
        axes = figure.add_subplot(1, len(pools), place)
        of_pool = frame[frame["pool"] == pool]
        panel(axes, of_pool, shown_methods(of_pool, reference))
        axes.set_title(pool)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    figure.savefig(file, dpi=120)
    return file


def shown_methods(frame: pd.DataFrame, reference: str) -> list[str]:
    """The reference method, then those of greatest AIQ margin."""
    ranked = select(frame, "aiq_margin").sort_values("value", ascending=False, kind="stable")["method"]
    others = [name for name in (ranked if len(ranked) else frame["method"].unique()) if name not in (reference, POOL)]
    return [reference, *others[: MOST - 1]]


def cost_quality(axes: Any, frame: pd.DataFrame, methods: list[str]) -> None:
    """Hulls with their 95% bands between the costs of the cheapest and of the best single model."""
    heights = select(frame, "height")
    for name in [POOL, *methods]:
        line = heights[heights["method"] == name].sort_values("at")
        label, style = ("Zero router", "k--") if name == POOL else (name, "-")
        drawn = axes.plot(line["at"], line["value"], style, label=label, linewidth=1)[0]
        axes.fill_between(line["at"], line["low"], line["high"], color=drawn.get_color(), alpha=0.1, linewidth=0)
    axes.set(xlabel="cost, 0 cheapest to 1 best single model", ylabel="mean score")


def collapse(axes: Any, frame: pd.DataFrame, methods: list[str]) -> None:
    """Share of calls to the strongest model along the curve's cost weights."""
    shares = select(frame, "strongest")
    for name in methods:
        line = shares[(shares["method"] == name) & (shares["at"] > 0)].sort_values("at")
        axes.plot(line["at"], line["value"], label=name, linewidth=1)
    axes.set(xlabel="cost weight × cost range", ylabel="share of calls to the strongest", xscale="log", ylim=(0, 1))


def reliability(axes: Any, frame: pd.DataFrame, methods: list[str]) -> None:
    """Observed against predicted quality of the chosen model, in ten equal-mass bins."""
    axes.plot([0, 1], [0, 1], "k:", linewidth=1)
    for name in methods:
        predicted, observed = (
            select(frame, f"chosen_{side}", method=name).sort_values("at")["value"]
            for side in ("predicted", "observed")
        )
        axes.plot(predicted.to_numpy(), observed.to_numpy(), marker=".", label=name, linewidth=1)
    axes.set(xlabel="predicted quality of the chosen model", ylabel="mean score", xlim=(0, 1), ylim=(0, 1))
