"""Rule for gaps: a category of a benchmark with few outcomes, where nearly all other queries have one.

The source left those queries out, often because their gold answers are disputed. The rest of the category is then not
reliable either, and a comparison of protocols on it compares different queries.
"""

from __future__ import annotations

from collections.abc import Iterator

from scipy import stats

from train.data_folders.check.cells import BLOCK, FEWEST_QUERIES
from train.data_folders.check.finding import WARNING, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.check.significance import discoveries

FEWEST_CATEGORIES = 4


def gap_findings(folder: CheckedFolder) -> Iterator[Finding]:
    """Findings about categories where the share of queries with outcomes is below half the benchmark's median."""
    queries = folder.dataset.queries.reset_index(names="row")[["row", "benchmark", "category"]]
    answered = folder.outcomes[["protocol", "row"]].drop_duplicates()
    every = queries.merge(answered["protocol"].drop_duplicates(), how="cross")
    every = every.merge(answered.assign(seen=True), how="left", on=["row", "protocol"])
    every["seen"] = every["seen"].notna()
    by_category = every.groupby([*BLOCK, "category"], observed=True)
    table = by_category["seen"].agg(["size", "sum", "mean"])
    table = table[(table["sum"] > 0) & (table["size"] >= FEWEST_QUERIES)]
    share = table.groupby(BLOCK, observed=True)["mean"]
    table["usual"] = share.transform("median").clip(upper=0.99)
    table = table[share.transform("size") >= FEWEST_CATEGORIES]
    p = stats.binom.cdf(table["sum"], table["size"], table["usual"])
    for each in table[discoveries(p) & (table["mean"] < table["usual"] / 2)].reset_index().itertuples():
        own = by_category.get_group((each.protocol, each.benchmark, each.category))
        missing = own["row"][~own["seen"]]
        yield Finding(
            WARNING,
            "gaps",
            f"{each.benchmark}, {each.category}, under {each.protocol}",
            f"{len(missing):,} of {len(own):,} queries have no outcome, where {1 - each.usual:.0%} is usual",
            "ask the source why (gold answers in dispute?); drop the category, or expect noise",
            rows=folder.ids(missing),
        )
