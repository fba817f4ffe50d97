"""Rule for gaps: a category of a benchmark with few outcomes, where nearly all other queries have one.

The source left those queries out, often because their gold answers are disputed. The rest of the category is then not
reliable either, and a comparison of protocols on it compares different queries.
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
    """Findings about categories where the share of queries with outcomes is below half the benchmark's median."""
    queries, tables = folder.dataset.queries, []
    for block in folder.blocks:
        rows = queries.index[queries["benchmark"] == block.benchmark]
        seen = pd.Series(rows.isin(block.rows), index=rows)
        table = seen.groupby(queries["category"][rows], observed=True).agg(["size", "sum"])
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
    rows = np.flatnonzero((queries["benchmark"] == benchmark) & (queries["category"] == category))
    columns = np.array([system.protocol == protocol for system in folder.dataset.systems])
    missing = rows[np.isnan(folder.dataset.score[rows][:, columns]).all(axis=1)]
    return Finding(
        WARNING,
        "gaps",
        f"{benchmark}, {category}, under {protocol}",
        f"{len(missing):,} of {len(rows):,} queries have no outcome, where {1 - usual:.0%} is usual",
        "ask the source why (gold answers in dispute?); drop the category, or expect noise",
        len(missing),
        folder.ids(missing),
    )
