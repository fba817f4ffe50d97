"""Summary of a collection per model: score, cost, latency, missing grades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from router.cli.text import table, usd


def summary_lines(trials: pd.DataFrame, missing: Counter[str], models: Sequence[str]) -> list[str]:
    """A table of the means over each model's trials; `missing` counts its trials without a grade."""
    rows = []
    for model in models:
        own = trials[trials["model"] == model]
        means = own[["score", "cost_usd", "latency_s"]].mean()
        score, cost, latency = (None if pd.isna(value) else float(value) for value in means)
        shown = "-" if score is None else f"{score:.3f}", usd(cost), "-" if latency is None else f"{latency:.2f} s"
        cut = (own["finish"] == "length").sum()
        rows.append([model, f"{len(own):,}", *shown, f"{cut:,}", f"{missing[model]:,}"])
    return table(
        ["model", "trials", "score", "cost", "latency", "cut short", "missing"], rows, right=(1, 2, 3, 4, 5, 6)
    )
