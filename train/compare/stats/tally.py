"""Tidy table of a comparison: draws of figures, averaged over parts and seeds, tested against the reference method.

Computes no figure. Columns of the table:

    regime, pool, subset    what is judged (`train.compare.stats.judge`)
    part                    a rotation, or a benchmark that is tested as a whole; all: the mean over parts
    method, seed            seed null: the mean over seeds; method `pool`: what no method changes
    metric, at              at: where on its axis a figure of a curve lies, 0 for a single figure
    value, sd, low, high    the sample's value, its bootstrap standard deviation and 95% interval
    difference, ..., p      of the value from the reference method's on the same draws
    p_holm                  p corrected over all pools and methods with the same regime, subset, part and metric

Axes: R draws (the sample first), G points of a curve.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from router.evaluation.metrics import Array
from train.compare.stats.bootstrap import Z, holm, interval, p_value, spread

ALL = "all"
POOL = "pool"  # in place of a method: facts of the pool
TESTED = (
    *("aiq_margin", "aiq_log_margin", "aiq_equal_lengths_margin"),
    *("quality_margin", "half_cost_margin", "gap_closed", "brier_margin"),
)
GROUP = ["regime", "subset", "part", "metric"]  # within which p-values are corrected together

Row = dict[str, Any]


class Tally:
    """Draws by method and figure, then part, then seed."""

    def __init__(self) -> None:
        self._draws: dict[tuple[str, str], dict[str, dict[int, Array]]] = defaultdict(lambda: defaultdict(dict))

    def add(self, method: str, metric: str, part: str, seed: int, draws: Array) -> None:
        """Add a figure's draws (R,), or a curve's (R, G)."""
        self._draws[method, metric][part][seed] = draws.reshape(len(draws), -1)

    def rows(self, reference: str, axes: dict[str, Array], details: bool) -> Iterator[Row]:
        """Rows of the table; `axes` holds the positions of a curve's points, `details` adds parts and seeds."""
        whole = {key: mean(mean(seeds.values()) for seeds in parts.values()) for key, parts in self._draws.items()}
        for (method, metric), parts in self._draws.items():
            head = {"method": method, "metric": metric}
            tested = metric in TESTED and method not in (reference, POOL) and (reference, metric) in self._draws
            yield from _summary(head | {"part": ALL}, whole[method, metric], axes.get(metric),
                                whole[reference, metric] if tested else None)  # fmt: skip
            if not details or metric in axes:
                continue
            for part, seeds in parts.items():
                against = mean(self._draws[reference, metric][part].values()) if tested else None
                yield from _summary(head | {"part": part}, mean(seeds.values()), None, against)
                if method != POOL:
                    for seed, draws in seeds.items():
                        yield head | {"part": part, "seed": seed, "at": 0.0, "value": float(draws[0, 0])}


def _summary(head: Row, draws: Array, at: Array | None, against: Array | None) -> Iterator[Row]:
    """One row per point of a figure's draws (R, G)."""
    for point, x in enumerate([0.0] if at is None else at):
        values = draws[:, point]
        low, high = interval(values)
        row = head | {"at": float(x), "value": float(values[0]), "sd": spread(values), "low": low, "high": high}
        if against is not None:
            difference = values - against[:, point]
            low, high = interval(difference)
            row |= {"difference": float(difference[0]), "difference_low": low, "difference_high": high}
            row["p"] = p_value(difference)
        yield row


def mean(arrays: Iterable[Array]) -> Array:
    """Mean of arrays of one shape, ignoring NaN; NaN where every array has NaN.

    >>> mean([np.array([1.0, np.nan]), np.array([3.0, np.nan])]).tolist()
    [2.0, nan]
    """
    stacked = np.stack(list(arrays))
    known = ~np.isnan(stacked)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0))


def table(rows: Iterable[Row]) -> pd.DataFrame:
    """The tidy table of all rows, with corrected p-values."""
    frame = pd.DataFrame(rows)
    frame["seed"] = frame.get("seed", pd.Series(np.nan, frame.index)).astype("Int64")
    frame["p_holm"] = np.nan
    if "p" not in frame:  # a single method has no test
        frame["p"] = np.nan
    for _, tested in frame[frame["p"].notna()].groupby(GROUP):
        frame.loc[tested.index, "p_holm"] = holm(tested["p"].to_numpy())
    return frame


def over_benchmarks(frame: pd.DataFrame, metric: str, method: str) -> Row:
    """A figure's mean over the parts of a regime, each first averaged over its pools, with its 95% interval.

    Queries of different benchmarks are drawn independently. Pools of one benchmark share its queries, so that their
    standard deviations are averaged as if they moved together, an upper bound.
    """
    rows = frame[frame["seed"].isna() & (frame["subset"] == ALL) & (frame["part"] != ALL)
                 & (frame["metric"] == metric) & (frame["method"] == method)]  # fmt: skip
    means = rows.groupby("part")[["value", "sd"]].mean()
    value, sd = means["value"].mean(), math.sqrt((means["sd"] ** 2).sum(skipna=False)) / len(means)
    return {"method": method, "metric": metric, "value": value, "sd": sd, "low": value - Z * sd, "high": value + Z * sd}


def select(frame: pd.DataFrame, metric: str, **where: Any) -> pd.DataFrame:
    """Rows of a figure, averaged over seeds and parts, on all queries, unless `where` says otherwise."""
    chosen = {"subset": ALL, "part": ALL, "metric": metric, **where}
    mask = frame["seed"].isna()
    for column, value in chosen.items():
        mask &= frame[column] == value
    return frame[mask]
