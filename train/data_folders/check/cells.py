"""Tables of outcomes and of cells, a system on a benchmark each, with its agreement with the other systems.

Agreement is the correlation of a system's scores with the mean of the other systems of its protocol on the same queries
(item-rest correlation), biserial where the benchmark's scores are 0 or 1. Also the significance of one figure among
many.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from router.evaluation.dataset import Dataset

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NO_AGREEMENT = 0.01  # p-value above which a correlation may be 0
FALSE_DISCOVERY_RATE = 0.005  # one of two hundred reports is chance; a folder has hundreds of cells to test
FEWEST_QUERIES = 30  # to judge a system by
FEWEST_SYSTEMS = 4  # to compare a system with
BLOCK = ["protocol", "benchmark"]
CELL = [*BLOCK, "column"]


def discoveries(p_values: Any, rate: float = FALSE_DISCOVERY_RATE) -> Mask:
    """Which of many tests are significant (Benjamini and Hochberg 1995); NaN is no test.

    >>> discoveries([0.0001, 0.5, np.nan, 0.04], rate=0.05).tolist()
    [True, False, False, False]
    """
    p_values = np.asarray(p_values, np.float64)
    found = np.zeros(p_values.shape, bool)
    tested = ~np.isnan(p_values)
    if tested.any():
        found[tested] = stats.false_discovery_control(p_values[tested]) <= rate
    return found


def may_be_zero(correlation: Any, error: Any) -> Any:
    """Whether correlations are within chance of 0, given their standard errors at 0."""
    return stats.norm.sf(correlation / error) > NO_AGREEMENT


def lost(correlation: Any, usual: Any, error: Any) -> Any:
    """Whether correlations may be 0 and are clearly below the usual ones, given their standard errors at 0."""
    return discoveries(stats.norm.cdf((correlation - usual) / error)) & may_be_zero(correlation, error)


def biserial_factor(mean: Array) -> Array:
    """Factor that makes a correlation with a 0/1 score of that mean independent of the mean (biserial correlation).

    The result is the correlation with a normal variable that is above a threshold where the score is 1. Without the
    factor an easy benchmark looks less consistent than a medium one.

    >>> biserial_factor(np.array([0.5, 0.95])).round(2).tolist()
    [1.25, 2.11]
    """
    mean = np.clip(mean, 1e-3, 1 - 1e-3)
    return np.asarray(np.sqrt(mean * (1 - mean)) / stats.norm.pdf(stats.norm.ppf(mean)), np.float64)


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
