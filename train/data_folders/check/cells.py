"""Tables of outcomes and of cells, a system on a benchmark each, with its agreement with the other systems.

Agreement is the correlation of a system's scores with the mean of the other systems of its protocol on the same queries
(item-rest correlation), biserial where the benchmark's scores are 0 or 1.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from router.evaluation.dataset import Dataset
from train.data_folders.check.significance import biserial_factor

FEWEST_QUERIES = 30  # to judge a system by
FEWEST_SYSTEMS = 4  # to compare a system with
BLOCK = ["protocol", "benchmark"]
CELL = [*BLOCK, "column"]


def outcomes_of(dataset: Dataset) -> pd.DataFrame:
    """A row per outcome: `row` of queries, `column` of systems, protocol, benchmark, score, `rest`, `systems`.

    `rest` is the mean score of the protocol's other systems on the query, NaN where no other system answered it;
    `systems` is how many the protocol has. Rows are ordered by CELL, then query.
    """
    row, column = np.nonzero(~np.isnan(dataset.score))
    found = pd.DataFrame({"row": row, "column": column, "score": dataset.score[row, column].astype(np.float64)})
    protocols = np.array([system.protocol for system in dataset.systems], object)
    for name, of_each in (("protocol", protocols[column]), ("benchmark", dataset.queries["benchmark"].to_numpy()[row])):
        found[name] = pd.Categorical(of_each, sorted(set(of_each)))
    found = found.sort_values([*CELL, "row"], ignore_index=True)
    same_query = found.groupby(["protocol", "row"], observed=True)["score"]
    others = same_query.transform("size") - 1
    found["rest"] = ((same_query.transform("sum") - found["score"]) / others).where(others > 0)
    found["systems"] = found.groupby("protocol", observed=True)["column"].transform("nunique")
    return found


def cells_of(outcomes: pd.DataFrame) -> pd.DataFrame:
    """A row per cell, in the order of the index CELL.

    count: outcomes. mean: score, NaN with fewer than FEWEST_QUERIES outcomes. agreement: 0 where the scores do not
    vary, NaN where the mean is. error: standard error of the agreement of a system without any. typical: median
    agreement of the benchmark's systems, NaN where fewer than FEWEST_SYSTEMS have one. always: the score, if it is the
    same throughout. rest: mean score of the others. systems: of the protocol.
    """
    binary = outcomes["score"].isin((0.0, 1.0)).groupby([outcomes[name] for name in BLOCK], observed=True)
    by_cell = outcomes.assign(binary=binary.transform("all")).groupby(CELL, observed=True)
    cells = by_cell.agg(
        count=("score", "size"), mean=("score", "mean"), low=("score", "min"), high=("score", "max"),
        rest=("rest", "mean"), binary=("binary", "first"), systems=("systems", "first"),
    )  # fmt: skip
    cells["always"] = cells["low"].where(cells["low"] == cells["high"])
    cells["mean"] = cells["mean"].where(cells["count"] >= FEWEST_QUERIES)
    factor = np.where(cells["binary"], biserial_factor(cells["mean"].fillna(0.0).to_numpy()), 1.0)
    cells["error"] = factor / np.sqrt(cells["count"])
    correlation = _correlation(outcomes.dropna(subset="rest")).reindex(cells.index, fill_value=0.0)
    cells["agreement"] = (correlation * factor).where(cells["mean"].notna())
    agreement = cells.groupby(BLOCK, observed=True)["agreement"]
    cells["typical"] = agreement.transform("median").where(agreement.transform("count") >= FEWEST_SYSTEMS)
    return cells


def _correlation(outcomes: pd.DataFrame) -> pd.Series:
    """Of score and rest, by cell; 0 where one does not vary."""
    both = outcomes.set_index(CELL)[["score", "rest"]]
    both = both - both.groupby(CELL, observed=True).transform("mean")
    products = pd.DataFrame({"own": both["score"] ** 2, "rest": both["rest"] ** 2, "both": both.prod(axis=1)})
    sums = products.groupby(CELL, observed=True).sum()
    spread = np.sqrt(sums["own"] * sums["rest"])
    return (sums["both"] / spread).where(spread > 1e-9, 0.0)
