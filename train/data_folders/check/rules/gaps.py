"""Gaps: a category of a benchmark of which much has no outcome, where nearly all of the rest has one.

The source left those queries out, often because their gold answers are disputed. What is left is not to be trusted
either, and comparing protocols on it compares other queries.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from train.data_folders.check.blocks import FEWEST_QUERIES
from train.data_folders.check.finding import WARNING, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.check.significance import discoveries

FEWEST_CATEGORIES = 4


def gap_findings(folder: CheckedFolder) -> list[Finding]:
    """Categories with less than half the share of queries with outcomes that is usual for their benchmark."""
    queries, tables = folder.dataset.queries, []
    for block in folder.blocks:
        mine = queries.index[queries["benchmark"] == block.benchmark]
        seen = pd.Series(mine.isin(block.rows), index=mine)
        table = seen.groupby(queries["category"][mine], observed=True).agg(["size", "sum"])
        table = table[(table["sum"] > 0) & (table["size"] >= FEWEST_QUERIES)]
        if len(table) >= FEWEST_CATEGORIES:
            share = table["sum"] / table["size"]
            usual = min(float(share.median()), 0.99)
            p = stats.binom.cdf(table["sum"], table["size"], usual)
            tables.append(
                table.assign(share=share, usual=usual, p=p, protocol=block.protocol, benchmark=block.benchmark)
            )
    if not tables:
        return []
    every = pd.concat(tables).reset_index(names="category")
    every = every[discoveries(every["p"].to_numpy()) & (every["share"] < every["usual"] / 2).to_numpy()]
    return [_finding(folder, **row) for row in every.drop(columns=["size", "sum", "share", "p"]).to_dict("records")]


def _finding(folder: CheckedFolder, category: str, benchmark: str, protocol: str, usual: float) -> Finding:
    queries = folder.dataset.queries
    mine = np.flatnonzero((queries["benchmark"] == benchmark) & (queries["category"] == category))
    columns = np.array([system.protocol == protocol for system in folder.dataset.systems])
    missing = mine[np.isnan(folder.dataset.score[mine][:, columns]).all(axis=1)]
    return Finding(
        WARNING,
        "gaps",
        f"{benchmark}, {category}, under {protocol}",
        f"{len(missing):,} of {len(mine):,} queries have no outcome, where {1 - usual:.0%} is usual",
        "ask the source why (gold answers in dispute?); drop the category, or expect noise",
        len(missing),
        folder.ids(missing),
    )
