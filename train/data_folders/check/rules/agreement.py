"""Rules for scores that do not agree with the other models': format artefacts and scrambled rows.

Format artefact: a model is at chance on one benchmark and good enough on the others, most likely since the grader could
not read its answers. Both must hold: its mean is far below the one expected from its other benchmarks and this
benchmark's difficulty, and its right answers do not correlate with those of the other models.

Scrambled rows: scores in the wrong order, which do not belong to their queries. A model's mean does not change, but its
right answers no longer correlate with those of the other models: the correlations may be 0 and are clearly below the
usual one.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from router.arrays import sigmoid
from train.data_folders.check.cells import BLOCK, CELL, FEWEST_QUERIES, discoveries, lost, may_be_zero
from train.data_folders.check.finding import ERROR, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder

FEWEST_BENCHMARKS = 3
FAR = np.log(4.0)  # logits below the expected mean: a quarter of the odds
LEAST_SPREAD = 0.25  # of logits around the additive fit: with three benchmarks a third of them is 0 by construction
ROUNDS = 20  # of the median polish; it settles within a few
# Share of the usual agreement that a scrambled system is clearly below. On one benchmark agreement may be low for other
# reasons, such as another prompt; on all benchmarks there are few other reasons.
ON_ALL, ON_ONE = 0.75, 0.5
NOTHING_SHARED = 0.1  # typical agreement below which models do not find the same queries of a benchmark hard
MANY_ANSWERS = 1000  # of a benchmark, so that this is no accident


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
    expected = sigmoid(logit - residual)
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
