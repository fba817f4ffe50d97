"""Rules for constant and missing outcomes.

Constant are models that never answer, a model's scores, or all scores of a benchmark. A gap is a category of a
benchmark with few outcomes, where nearly all other queries have one: the source left those queries out, often because
their gold answers are disputed. The rest of the category is then not reliable either, and a comparison of protocols on
it compares different queries.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from train.data_folders.check.cells import BLOCK, CELL, FEWEST_QUERIES, FEWEST_SYSTEMS, discoveries
from train.data_folders.check.finding import ERROR, NOTE, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder

CHANCE = np.log(1e-6)  # log probability below which equal scores are no accident; a folder has some thousand cells
EASIER = 4.0  # factor by which a model's odds may differ from the others'
CONSTANT_SHARE = 0.9  # share of a benchmark's queries on which all models score the same
EXTREMES = (0.05, 0.95)  # outside these mean scores, equal scores are expected
FEWEST_CATEGORIES = 4


def constant_findings(folder: CheckedFolder) -> Iterator[Finding]:
    """Findings about systems with constant scores, models without answers, and benchmarks with equal scores."""
    yield from _never_answers(folder)
    yield from _constant_cells(folder)
    yield from _constant_benchmarks(folder)
    seen = {system.model for system in folder.dataset.systems}
    missing = tuple(sorted(set(folder.models["model"].astype(str)) - seen))
    if missing:
        yield Finding(
            NOTE,
            "never answers",
            "models.csv",
            f"{len(missing):,} models have prices but no outcome",
            "collect answers of them or take them out; they cannot be trained on",
            rows=missing,
        )


def _never_answers(folder: CheckedFolder) -> Iterator[Finding]:
    """Systems whose answers are all wrong where others' are not, or mostly empty."""
    dataset = folder.dataset
    wrong = _by_chance(folder, 0.0).groupby("column").sum() < CHANCE
    for column, system in enumerate(dataset.systems):
        score, empty = dataset.score[:, column], dataset.measured[:, column] & (dataset.output_tokens[:, column] == 0)
        answered = ~np.isnan(score)
        silent = wrong.get(column, False) and not (score[answered] > 0).any()
        if answered.sum() >= FEWEST_QUERIES and (silent or empty.sum() > answered.sum() / 2):
            why = "every score is 0" if silent else f"{empty.sum():,} of {answered.sum():,} answers are empty"
            yield Finding(
                ERROR,
                "never answers",
                system.id,
                f"{why}, over {answered.sum():,} queries that other models answer",
                "run it again or leave it out: a router learns that it is bad, not that it was down",
                int(answered.sum()),
                folder.ids(np.flatnonzero(answered if silent else empty)),
            )


def _by_chance(folder: CheckedFolder, value: float) -> pd.Series:
    """Log probability that a system similar to the others always scores `value`, by cell where the system does."""
    outcomes = folder.outcomes[folder.outcomes["systems"] > 1]  # with another system to compare with
    rest = outcomes["rest"].fillna(value).clip(0.01, 0.99)
    odds = rest / (1 - rest) if value == 0 else (1 - rest) / rest
    log = -np.log1p(odds / EASIER).groupby([outcomes[name] for name in CELL], observed=True).sum()
    return log[folder.cells["always"].loc[log.index] == value]


def _constant_cells(folder: CheckedFolder) -> Iterator[Finding]:
    """Systems with a constant score on one benchmark, but not on all."""
    cells = folder.cells[(folder.cells["count"] >= FEWEST_QUERIES) & folder.cells["always"].notna()]
    log = pd.concat([_by_chance(folder, value) for value in (0.0, 1.0)])
    expected = cells["always"].isin((0.0, 1.0)) & ~cells.index.isin(log.index[log < CHANCE])
    best = folder.outcomes.groupby("column")["score"].max()
    silent = (cells["always"] == 0) & (best[cells.index.get_level_values("column")] == 0).to_numpy()
    for each in cells[~expected & ~silent].reset_index().itertuples():
        yield Finding(
            WARNING,
            "constant outcomes",
            f"{folder.system(each.column)} on {each.benchmark}",
            f"all {each.count:,} scores are {each.always:g}; others have {each.rest:.2f}",
            "look at some answers: a grader that never sees them, a default written for missing grades?",
            rows=folder.answered([each.benchmark], column=each.column),
        )


def _constant_benchmarks(folder: CheckedFolder) -> Iterator[Finding]:
    queries = folder.outcomes.groupby([*BLOCK, "row"], observed=True)["score"].agg(["size", "min", "max"]).reset_index()
    queries["alike"] = queries["max"] - queries["min"] < 1e-6
    several = queries[queries["size"] >= FEWEST_SYSTEMS]
    blocks = folder.outcomes.groupby(BLOCK, observed=True).agg(mean=("score", "mean"), systems=("systems", "first"))
    blocks["queries"] = queries.groupby(BLOCK, observed=True).size()
    blocks["share"] = several.groupby(BLOCK, observed=True)["alike"].mean()
    enough = (blocks["systems"] >= FEWEST_SYSTEMS) & (blocks["queries"] >= FEWEST_QUERIES)
    constant = (blocks["share"] >= CONSTANT_SHARE) & blocks["mean"].between(*EXTREMES, inclusive="neither")
    for each in blocks[enough & constant].reset_index().itertuples():
        here = (several["protocol"] == each.protocol) & (several["benchmark"] == each.benchmark) & several["alike"]
        yield Finding(
            WARNING,
            "constant outcomes",
            f"{each.benchmark}, under {each.protocol}",
            f"on {each.share:.0%} of its queries all models score the same, though the mean is {each.mean:.2f}",
            "check that the grader reads each model's own answer; such queries teach nothing about choices",
            rows=folder.ids(several["row"][here]),
        )


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
