"""Rule for format artefacts: a model that is at chance on one benchmark and good enough on the others.

Most likely the grader could not read its answers. Both must hold: its mean is far below the one expected from its other
benchmarks and this benchmark's difficulty, and its right answers do not correlate with those of the other models.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from train.data_folders.check.cells import CELL
from train.data_folders.check.finding import ERROR, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.check.significance import discoveries, may_be_zero

FEWEST_BENCHMARKS = 3
FAR = np.log(4.0)  # logits below the expected mean: a quarter of the odds
LEAST_SPREAD = 0.25  # of logits around the additive fit: with three benchmarks a third of them is 0 by construction
ROUNDS = 20  # of the median polish; it settles within a few


def artefact_findings(folder: CheckedFolder) -> Iterator[Finding]:
    """A finding per system, naming the benchmarks on which it is at chance."""
    cells = folder.cells.dropna(subset=["mean", "typical"])
    right, wrong = cells["mean"] * cells["count"], (1 - cells["mean"]) * cells["count"]
    logit = np.log((right + 0.5) / (wrong + 0.5))
    tables = [of_one.unstack("benchmark") for _, of_one in logit.groupby("protocol", observed=True)]
    polished = [_polished(table).stack() for table in tables if table.notna().any().sum() >= FEWEST_BENCHMARKS]
    if not polished:
        return
    residual = pd.concat(polished).reorder_levels(CELL).dropna()
    cells, logit = cells.loc[residual.index], logit[residual.index]
    expected = 1 / (1 + np.exp(-(logit - residual)))
    middle = residual.abs().groupby("protocol", observed=True).transform("median")
    spread = (1.4826 * middle).clip(lower=LEAST_SPREAD)
    z = residual / np.sqrt(spread**2 + 1 / (cells["count"] * expected * (1 - expected)))
    at_chance = (cells["agreement"] < cells["typical"] / 2) | may_be_zero(cells["agreement"], cells["error"])
    bad = discoveries(stats.norm.cdf(z)) & (residual < -FAR) & at_chance
    for column, own in cells.assign(expected=expected)[bad].reset_index().groupby("column"):
        benchmarks = own["benchmark"].tolist()
        figures = ", ".join(
            f"{each.mean:.3f} on {each.benchmark} (expected {each.expected:.2f})"
            for each in own[["mean", "benchmark", "expected"]].itertuples()
        )
        yield Finding(
            ERROR,
            "format artefact",
            f"{folder.system(column)} on {', '.join(benchmarks)}",
            f"scores {figures}, and not on the queries that others find easy",
            "read some of its answers: does the grader know their format? Grade again, or drop these",
            rows=folder.answered(benchmarks, column=column),
        )


def _polished(table: pd.DataFrame) -> pd.DataFrame:
    """Residuals of an additive fit by medians (Tukey's median polish), which a few outliers do not move.

    >>> _polished(pd.DataFrame([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, -9.0]])).round(6).to_numpy().tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, -13.0]]
    """
    for _ in range(ROUNDS):
        table = table.sub(table.median(axis=1), axis=0)
        table = table - table.median()
    return table
