"""Blocks of outcomes by protocol and benchmark, with each system's agreement with the others (item-rest correlation).

Pure numpy. Axes: n queries of a block, m systems of its protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from router.evaluation.dataset import Dataset
from train.data_folders.check.significance import Array, Mask, biserial_factor

FEWEST_QUERIES = 30  # to judge a model by
FEWEST_SYSTEMS = 4  # to compare a model with


@dataclass(frozen=True)
class Block:
    """Scores of one protocol's systems on one benchmark."""

    protocol: str
    benchmark: str
    rows: NDArray[np.intp]  # (n,) of the folder's queries
    columns: NDArray[np.intp]  # (m,) of the folder's systems
    score: Array  # (n, m), NaN where there is no outcome

    @cached_property
    def answered(self) -> Mask:
        """(n, m) whether there is an outcome."""
        return ~np.isnan(self.score)

    @cached_property
    def count(self) -> NDArray[np.intp]:
        """(m,) outcomes of each system."""
        return self.answered.sum(axis=0)

    @cached_property
    def mean(self) -> Array:
        """(m,) mean score of each system; NaN with fewer than FEWEST_QUERIES outcomes."""
        total = np.where(self.answered, self.score, 0.0).sum(axis=0)
        return np.where(self.count >= FEWEST_QUERIES, total / np.maximum(self.count, 1), np.nan)

    @cached_property
    def rest(self) -> Array:
        """(n, m) mean score of the other systems on the query; NaN where no other system answered it."""
        filled, others = np.where(self.answered, self.score, 0.0), self.answered.sum(axis=1)[:, None] - self.answered
        mean = (filled.sum(axis=1)[:, None] - filled) / np.maximum(others, 1)
        return np.where(others > 0, mean, np.nan)

    @cached_property
    def agreement(self) -> Array:
        """(m,) correlation of a system's scores with the others' mean on the same queries (item-rest correlation).

        Biserial for scores of 0 or 1. 0 where a system's scores do not vary, NaN where its mean is NaN.
        """
        return np.where(np.isnan(self.mean), np.nan, self._raw_agreement * self.factor)

    @cached_property
    def factor(self) -> Array:
        """(m,) factor of the correlations: biserial for scores of 0 or 1, otherwise 1."""
        binary = np.isin(self.score[self.answered], (0.0, 1.0)).all()
        return biserial_factor(np.nan_to_num(self.mean)) if binary else np.ones(len(self.columns))

    @property
    def error(self) -> Array:
        """(m,) standard error of the agreement of a system without any."""
        return np.asarray(self.factor / np.sqrt(np.maximum(self.count, 1)), np.float64)

    @cached_property
    def _raw_agreement(self) -> Array:
        both = self.answered & ~np.isnan(self.rest)
        own, rest = (_centred(values, both) for values in (self.score, self.rest))
        spread = np.sqrt((own**2).sum(axis=0) * (rest**2).sum(axis=0))
        return np.where(spread > 1e-9, (own * rest).sum(axis=0) / np.maximum(spread, 1e-9), 0.0)

    @property
    def typical_agreement(self) -> float:
        """Median agreement of the systems that have one; NaN where fewer than FEWEST_SYSTEMS have."""
        known = self.agreement[~np.isnan(self.agreement)]
        return float(np.median(known)) if len(known) >= FEWEST_SYSTEMS else float("nan")


def _centred(values: Array, both: Mask) -> Array:
    """(n, m) deviations from the column's mean over `both`, 0 elsewhere."""
    filled = np.where(both, values, 0.0)
    return np.where(both, values - filled.sum(axis=0) / np.maximum(both.sum(axis=0), 1), 0.0)


def blocks_of(dataset: Dataset) -> Iterator[Block]:
    """The blocks of a folder that have an outcome, one in memory at a time."""
    protocols = np.array([system.protocol for system in dataset.systems])
    benchmarks = dataset.queries["benchmark"].to_numpy()
    for protocol in sorted(set(protocols)):
        columns = np.flatnonzero(protocols == protocol)
        seen = (~np.isnan(dataset.score[:, columns])).any(axis=1)
        for benchmark in sorted(set(benchmarks[seen])):
            rows = np.flatnonzero(seen & (benchmarks == benchmark))
            score = dataset.score[np.ix_(rows, columns)].astype(np.float64)
            yield Block(str(protocol), str(benchmark), rows, columns, score)
