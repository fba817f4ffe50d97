"""Members of a pool where a benchmark is left out, and the additive fit that ranks systems measured on other queries.

Knows no method. Axes: N queries of the folder, B queries, M members.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.sparse.csgraph import connected_components

from router.errors import DataError
from router.evaluation.dataset import Dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import PoolOutcomes, pool_outcomes
from router.pools.pool import Pool
from train.compare.regimes import repeats

FEWEST = 100  # outcomes outside what is left out, below which a member leaves the pool


@lru_cache(maxsize=32)
def remaining(dataset: Dataset, pool: Pool, part: str) -> tuple[Pool, PoolOutcomes]:
    """The pool without members that have fewer than FEWEST outcomes outside what `part` leaves out (`repeats`).

    With it the outcomes of all queries for which any of them has a score.
    """
    columns = dataset.columns(tuple(c.system for c in pool.candidates if c.system is not None))
    elsewhere = (~np.isnan(dataset.score[~repeats(dataset, part)][:, columns])).sum(axis=0)
    kept = tuple(each for each, count in zip(pool.candidates, elsewhere, strict=True) if count >= FEWEST)
    reduced = replace(pool, candidates=kept)
    return reduced, pool_outcomes(dataset, reduced, holes=True)


def system_effects(value: Array, pool: str) -> Array:
    """Effects (M,), of mean 0, of the least-squares fit of `value` (B, M) by query effect + system effect.

    NaN is unknown. Where all are known an effect is the system's mean less the mean of all. Query effects are
    eliminated, which leaves M equations. Raises DataError where systems fall into sets that share no query.

    >>> system_effects(np.array([[0.1, 0.4, np.nan], [np.nan, 0.9, 0.6]]), "x").round(6).tolist()
    [-0.1, 0.2, -0.1]
    """
    known = ~np.isnan(value)
    sets, _ = connected_components(known.T.astype(int) @ known, directed=False)
    if sets > 1:
        raise DataError(
            f"pool {pool!r}: its members fall into {sets} sets that share no training query, so its best single model "
            "cannot be chosen; split the pool, or leave out other benchmarks"
        )
    value, known = value[known.any(axis=1)], known[known.any(axis=1)]
    centred = np.where(known, value - np.nanmean(value, axis=1, keepdims=True), 0.0)
    share = known / known.sum(axis=1, keepdims=True)
    effects: Array = np.linalg.lstsq(np.diag(known.sum(axis=0)) - known.T @ share, centred.sum(axis=0))[0]
    return effects
