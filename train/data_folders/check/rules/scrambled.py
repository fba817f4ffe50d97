"""Rule for scrambled rows: scores in the wrong order, which do not belong to their queries.

A model's mean does not change, but its right answers no longer correlate with those of the other models. The rule finds
correlations that may be 0 and are clearly below the usual one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from train.data_folders.check.cells import BLOCK, FEWEST_QUERIES
from train.data_folders.check.finding import ERROR, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.check.significance import lost

# Share of the usual agreement that a scrambled system is clearly below. On one benchmark agreement may be low for other
# reasons, such as another prompt; on all benchmarks there are few other reasons.
ON_ALL, ON_ONE = 0.75, 0.5
NOTHING_SHARED = 0.1  # typical agreement below which models do not find the same queries of a benchmark hard
MANY_ANSWERS = 1000  # of a benchmark, so that this is no accident


def scrambled_findings(folder: CheckedFolder) -> Iterator[Finding]:
    """Findings about systems scrambled on all benchmarks or on one, and benchmarks on which all systems disagree."""
    cells = folder.cells[folder.cells["typical"] >= NOTHING_SHARED].reset_index()
    known = cells.dropna(subset="agreement")
    figures, answers = known[["agreement", "typical"]], known["count"]
    sums = figures.mul(answers, axis=0).assign(error=(answers * known["error"]) ** 2, count=answers)
    whole = sums.groupby(known["column"]).sum()
    whole[["agreement", "typical"]] = whole[["agreement", "typical"]].div(whole["count"], axis=0)
    whole["error"] = np.sqrt(whole["error"]) / whole["count"]
    whole = whole[lost(whole["agreement"], ON_ALL * whole["typical"], whole["error"])]
    single = lost(known["agreement"], ON_ONE * known["typical"], known["error"])
    single &= known["mean"].between(0.05, 0.95, inclusive="neither") & ~known["column"].isin(whole.index)
    for each in pd.concat([whole.reset_index(), known[single]]).itertuples():
        everywhere = each.column in whole.index
        benchmarks = cells["benchmark"][cells["column"] == each.column] if everywhere else [each.benchmark]
        yield Finding(
            ERROR,
            "scrambled rows",
            f"{folder.system(each.column)} on {'all it answered' if everywhere else each.benchmark}",
            f"its scores agree with the other models' by {each.agreement:.2f} over {each.count:,} answers, where "
            f"{each.typical:.2f} is usual",
            "compare the order of rows with the source's: most likely they were joined by position, not by id",
            each.count,
            folder.answered(benchmarks, column=each.column),
        )
    yield from _nothing_shared(folder)


def _nothing_shared(folder: CheckedFolder) -> Iterator[Finding]:
    blocks = folder.outcomes.groupby(BLOCK, observed=True).agg(
        queries=("row", "nunique"), answers=("score", "size"), low=("score", "min"), high=("score", "max")
    )
    blocks["typical"] = folder.cells.groupby(BLOCK, observed=True)["typical"].first()
    enough = (blocks["queries"] >= FEWEST_QUERIES) & (blocks["answers"] >= MANY_ANSWERS)
    unlike = (blocks["typical"] < NOTHING_SHARED) & (blocks["low"] < blocks["high"])
    for each in blocks[enough & unlike].reset_index().itertuples():
        yield Finding(
            WARNING,
            "no common signal",
            f"{each.benchmark}, under {each.protocol}",
            f"which of {each.queries:,} queries a model gets right has next to nothing to do with which others do: "
            f"agreement {each.typical:.2f}",
            "check rows, grader and texts; a router learns the models' means from it and nothing of queries",
            rows=folder.answered([each.benchmark], protocol=each.protocol),
        )
