"""Rule for contradictory outcomes: repeated outcomes, one text graded both ways, protocols that disagree.

Two protocols are compared by the mean score of their models on each query. The means do not correlate if the gold
answers or the order of rows differ.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pandas as pd

from train.data_folders.check.cells import FEWEST_QUERIES, FEWEST_SYSTEMS, lost, may_be_zero
from train.data_folders.check.finding import ERROR, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder

FEWEST_SHARED = 5  # systems that answered both copies of a text


def contradiction_findings(folder: CheckedFolder) -> Iterator[Finding]:
    """Findings about repeated outcomes, texts graded both ways, and protocols that disagree."""
    again = folder.repeated
    if len(again):
        differ = (again["score"] - again["first"]).abs() > 1e-6
        yield Finding(
            ERROR,
            "contradictory outcomes",
            "outcomes.parquet",
            f"{len(again):,} outcomes are given again for a query, model and protocol that has one, {differ.sum():,} "
            "of them with another score; training refuses such a folder",
            "keep one row for each: the mean of several trials, or the right one of two gradings",
            len(again),
            tuple(dict.fromkeys([*again["query_id"][differ], *again["query_id"]])),
        )
    yield from _graded_both_ways(folder)
    yield from _protocols(folder)


def _graded_both_ways(folder: CheckedFolder) -> Iterator[Finding]:
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
    if rows:
        yield Finding(
            ERROR,
            "contradictory outcomes",
            ", ".join(sorted(set(queries["benchmark"][rows]))),
            f"{len(rows):,} queries repeat a text on which most models scored otherwise: one copy's gold answer is "
            "wrong",
            "compare the gold answers of the copies (listed one after the other) and keep the right one",
            rows=folder.ids(rows),
        )


def _protocols(folder: CheckedFolder) -> Iterator[Finding]:
    """Benchmarks, or their categories, on which different queries are hard under two protocols."""
    compared = folder.outcomes[folder.outcomes["systems"] >= FEWEST_SYSTEMS]
    means = compared.groupby(["row", "protocol"], observed=True)["score"].mean().unstack("protocol")
    queries = folder.dataset.queries.loc[means.index]
    for benchmark in compared["benchmark"].unique():
        here = means[queries["benchmark"] == benchmark].dropna(axis=1, how="all")
        for one, other in combinations(here, 2):
            shared = here[[one, other]].dropna().set_axis(["one", "other"], axis=1)
            if len(shared) >= FEWEST_QUERIES:
                categories = queries["category"][shared.index]
                for place, own in _disagreements(benchmark, shared, categories):
                    yield _disagreement(folder, f"{place}, under {one} and {other}", own)


def _disagreements(benchmark: str, shared: pd.DataFrame, category: pd.Series) -> list[tuple[str, pd.DataFrame]]:
    """The whole benchmark, if its means may be uncorrelated, or the categories that are unlike the rest of it."""
    overall = _correlation(shared)
    if may_be_zero(overall, 1 / np.sqrt(len(shared))):
        return [(benchmark, shared)]
    parts = [(name, own) for name, own in shared.groupby(category, observed=True) if len(own) >= FEWEST_QUERIES]
    correlation = np.array([_correlation(own) for _, own in parts])
    unlike = lost(correlation, overall / 2, 1 / np.sqrt([len(own) for _, own in parts]))
    return [(f"{benchmark}, {name}", own) for (name, own), bad in zip(parts, unlike, strict=True) if bad]


def _disagreement(folder: CheckedFolder, where: str, shared: pd.DataFrame) -> Finding:
    order = (shared["one"] - shared["other"]).abs().sort_values(ascending=False).index
    return Finding(
        WARNING,
        "contradictory protocols",
        where,
        f"what is hard under one is not under the other: correlation {_correlation(shared):.2f} over {len(shared):,} "
        "queries",
        "compare the gold answers and the order of rows of the two sources (most different queries first), or drop it",
        rows=folder.ids(order),
    )


def _correlation(shared: pd.DataFrame) -> float:
    varies = shared.std().min() >= 1e-9
    return float(shared["one"].corr(shared["other"])) if varies else 0.0
