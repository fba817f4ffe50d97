"""Whether familiarity tells sets that training left out from those it saw, and where predictions can be trusted.

Axes: B queries.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from router.arrays import host
from router.evaluation.dataset import Dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import pool_outcomes
from router.pools.pool import Pool
from router.routing.router import Router
from train.studies.reading.figures import Figure, auroc, measured
from train.studies.reading.texts import read

BAR = 0.75
QUINTILES = 5
PART = "familiarity"


def gaps(familiarity: Array, predicted: Array, got: Array) -> Array:
    """Absolute gap between mean predicted and mean got quality in each quintile of familiarity, least familiar first.

    >>> gaps(np.arange(10.0), np.full(10, 0.5), np.repeat([0.0, 0.5], 5)).tolist()
    [0.5, 0.5, 0.25, 0.0, 0.0]
    """
    place = pd.Series(familiarity).rank(method="first", pct=True).to_numpy() * QUINTILES
    quintile = np.minimum(np.ceil(place).astype(int), QUINTILES) - 1
    return np.array([abs(np.mean((predicted - got)[quintile == each])) for each in range(QUINTILES)])


def familiarity_figures(
    router: Router, dataset: Dataset, seen: NDArray[np.intp], left_out: NDArray[np.intp], pools: Iterable[Pool]
) -> list[Figure]:
    """AUROC of rows `seen` against rows `left_out` of the folder; by pool the gaps over quintiles of both, at dial 0.

    A pool's figure is the number of steps by which the gap grows although familiarity does; 0 is monotone.
    """
    rows = np.concatenate([seen, left_out])
    made = read(router, dataset.queries["text"].to_numpy()[rows].tolist())
    familiarity = host(made.vectors.familiarity).astype(np.float64)
    figures = [measured(PART, "AUROC of seen", auroc, familiarity, np.arange(len(rows)) < len(seen), bar=BAR)]
    for pool in pools:
        outcomes = pool_outcomes(dataset, pool)
        at = pd.Index(outcomes.rows).get_indexer(rows)
        kept = np.flatnonzero(at >= 0)
        if len(kept) < QUINTILES:
            continue
        found = made.in_pool(router, pool)
        best = found.quality[kept].argmax(axis=1)
        found_gaps = gaps(familiarity[kept], found.quality[kept, best], outcomes.score[at[kept], best])
        note = "gaps " + ", ".join(f"{gap:.3f}" for gap in found_gaps)
        steps = float((np.diff(found_gaps) > 0).sum())
        figures.append(
            Figure(
                PART, "steps at which the gap grows", steps, n=len(kept), bar=0, better=-1, pool=pool.name, note=note
            )
        )
    return figures


def split(benchmark: Sequence[str], folds: NDArray[np.bool_], left_out: Sequence[str]) -> tuple[NDArray[np.intp], ...]:
    """Rows of `folds` (N,) outside the sets `left_out`, and all rows of these sets."""
    mask = np.isin(np.asarray(benchmark, str), list(left_out))
    return np.flatnonzero(folds & ~mask), np.flatnonzero(mask)
