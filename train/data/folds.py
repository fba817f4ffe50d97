"""Folds and splits: the rows of a data folder that a training run may see. No other place decides it.

Folds 8 and 9 are used only where a configuration names them. A benchmark of split `ood` is left out unless it is named,
and with it every row that repeats one of its questions (`ood_twin`). Axes: N queries of the folder.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router.errors import UsageError, known_names
from router.evaluation.dataset import Dataset


def usable_rows(dataset: Dataset, ood_benchmarks: Sequence[str]) -> NDArray[np.bool_]:
    """Mask (N,) of the rows of any fold that a run may see.

    `ood_benchmarks` names the out-of-distribution benchmarks that the run may see too. As long as one of the folder's
    is left out, so are the twins of all their questions. UsageError for a name that is no such benchmark.
    """
    held_out = dataset.queries["split"] == "ood"
    benchmark = dataset.queries["benchmark"]
    known = sorted(set(benchmark[held_out]))
    for name in ood_benchmarks:
        if name not in known:
            raise UsageError(f"ood_benchmarks: {name!r} has no rows of split ood; {known_names(name, known)}")
    left_out = held_out & ~benchmark.isin(list(ood_benchmarks))
    if left_out.any():
        left_out |= dataset.queries["ood_twin"]
    return ~left_out.to_numpy(bool)


def fold_rows(dataset: Dataset, usable: NDArray[np.bool_], folds: Sequence[int]) -> NDArray[np.intp]:
    """Rows of `folds` among the usable ones; UsageError when there are none."""
    if not set(folds) <= set(range(10)):
        raise UsageError(f"folds are whole numbers from 0 to 9, got {list(folds)}")
    rows = np.flatnonzero(usable & np.isin(dataset.queries["fold"].to_numpy(), list(folds)))
    if not len(rows):
        raise UsageError(f"{dataset.folder}: no usable row in folds {list(folds)}")
    return rows
