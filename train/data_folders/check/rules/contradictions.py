"""Rule for contradictory outcomes: repeated outcomes, one text graded both ways, protocols that disagree.

Two protocols are compared by the mean score of their models on each query. The means do not correlate if the gold
answers or the order of rows differ. Axes: n queries that two protocols share.
"""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pandas as pd

from train.data_folders.check.blocks import FEWEST_QUERIES, FEWEST_SYSTEMS, Block
from train.data_folders.check.finding import ERROR, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.check.significance import NO_AGREEMENT, Array, discoveries, lower_tail, upper_tail

FEWEST_SHARED = 5  # systems that answered both copies of a text


def contradiction_findings(folder: CheckedFolder) -> list[Finding]:
    """Findings about repeated outcomes, texts graded both ways, and protocols that disagree."""
    found = [_repeated_outcomes(folder), _graded_both_ways(folder)]
    return [finding for finding in found if finding] + _protocols(folder)


def _repeated_outcomes(folder: CheckedFolder) -> Finding | None:
    again = folder.repeated
    if not len(again):
        return None
    differ = (again["score"] - again["first"]).abs() > 1e-6
    ids = dict.fromkeys([*again["query_id"][differ], *again["query_id"]])
    return Finding(
        ERROR,
        "contradictory outcomes",
        "outcomes.parquet",
        f"{len(again):,} outcomes are given again for a query, model and protocol that has one, {differ.sum():,} of "
        "them with another score; training refuses such a folder",
        "keep one row for each: the mean of several trials, or the right one of two gradings",
        len(again),
        tuple(ids),
    )


def _graded_both_ways(folder: CheckedFolder) -> Finding | None:
    """Pairs of rows with one text and benchmark on which most systems that answered both have different scores."""
    queries, score = folder.dataset.queries, folder.dataset.score
    same = queries[queries.duplicated(["benchmark", "text"], keep=False)]
    rows: list[int] = []
    for _, group in same.groupby(["benchmark", "text"], observed=True):
        for a, b in pairwise(group.index):
            difference = np.abs(score[a] - score[b])
            difference = difference[~np.isnan(difference)]
            if len(difference) >= FEWEST_SHARED and (difference > 0.5).mean() > 0.5:
                rows += [a, b]
    if not rows:
        return None
    return Finding(
        ERROR,
        "contradictory outcomes",
        ", ".join(sorted(set(queries["benchmark"][rows]))),
        f"{len(rows):,} queries repeat a text on which most models scored otherwise: one copy's gold answer is wrong",
        "compare the gold answers of the copies (listed one after the other) and keep the right one",
        len(rows),
        folder.ids(rows),
    )


def _protocols(folder: CheckedFolder) -> list[Finding]:
    """Benchmarks, or their categories, on which different queries are hard under two protocols."""
    by_benchmark: dict[str, list[Block]] = {}
    for block in folder.blocks:
        if len(block.columns) >= FEWEST_SYSTEMS:
            by_benchmark.setdefault(block.benchmark, []).append(block)
    found = []
    for benchmark, blocks in by_benchmark.items():
        for one, other in combinations(blocks, 2):
            shared = _shared(folder, one, other)
            if len(shared) >= FEWEST_QUERIES:
                found += _disagreements(folder, benchmark, (one.protocol, other.protocol), shared)
    return found


def _shared(folder: CheckedFolder, one: Block, other: Block) -> pd.DataFrame:
    """Queries of both protocols, with the mean score under each and their category."""
    means = [pd.Series(np.nanmean(block.score, axis=1), index=block.rows) for block in (one, other)]
    shared = pd.concat(means, axis=1, keys=["one", "other"]).dropna()
    return shared.assign(category=folder.dataset.queries["category"][shared.index])


def _disagreements(
    folder: CheckedFolder, benchmark: str, protocols: tuple[str, str], shared: pd.DataFrame
) -> list[Finding]:
    names = " and ".join(protocols)
    overall, n = _correlation(shared), len(shared)
    if upper_tail(np.array(overall * np.sqrt(n))) > NO_AGREEMENT:
        return [_disagreement(folder, f"{benchmark}, under {names}", overall, shared)]
    parts = [
        (category, part) for category, part in shared.groupby("category", observed=True) if len(part) >= FEWEST_QUERIES
    ]
    own: Array = np.array([_correlation(part) for _, part in parts])
    root: Array = np.sqrt([len(part) for _, part in parts])
    unlike = discoveries(lower_tail((own - overall / 2) * root)) & (upper_tail(own * root) > NO_AGREEMENT)
    return [
        _disagreement(folder, f"{benchmark}, {category}, under {names}", r, part)
        for (category, part), r, bad in zip(parts, own, unlike, strict=True)
        if bad
    ]


def _disagreement(folder: CheckedFolder, where: str, correlation: float, shared: pd.DataFrame) -> Finding:
    order = (shared["one"] - shared["other"]).abs().sort_values(ascending=False).index
    return Finding(
        WARNING,
        "contradictory protocols",
        where,
        f"what is hard under one is not under the other: correlation {correlation:.2f} over {len(shared):,} queries",
        "compare the gold answers and the order of rows of the two sources (most different queries first), or drop it",
        len(shared),
        folder.ids(order),
    )


def _correlation(shared: pd.DataFrame) -> float:
    if shared["one"].std() < 1e-9 or shared["other"].std() < 1e-9:
        return 0.0
    return float(np.corrcoef(shared["one"], shared["other"])[0, 1])
