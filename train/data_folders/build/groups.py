"""Folds and splits of a built folder's queries, drawn by group.

Twins (the same question with any options, or nearly the same text) share a group and hence a fold. A twin of a query
from a held-out benchmark is marked as `ood_twin`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from train.data_folders.near_duplicates import near_duplicates
from train.data_folders.questions import fold_of, group_keys, split_of


def with_folds(queries: pd.DataFrame) -> pd.DataFrame:
    """The queries with `group`, `fold`, `split` and `ood_twin` in place of `held_out`."""
    texts = queries["text"].tolist()
    keys = group_keys(texts)
    group = pd.Series(_joined(keys, near_duplicates(texts, keys)), index=queries.index)
    held_out = queries["held_out"]
    fold = group.map(fold_of)
    split = fold.map(split_of).where(~held_out, "ood")
    twin = group.isin(set(group[held_out])) & ~held_out
    return queries.drop(columns="held_out").assign(split=split, fold=fold.astype("int8"), group=group, ood_twin=twin)


def _joined(keys: list[str], pairs: list[tuple[int, int]]) -> list[str]:
    """The keys; keys that pairs connect are replaced by the least of them.

    >>> _joined(["b", "c", "a", "d"], [(0, 1), (1, 2)])
    ['a', 'a', 'a', 'd']
    """
    names, place = np.unique(keys, return_inverse=True)
    a, b = place[np.array(pairs, int).reshape(-1, 2)].T
    joined = sparse.coo_matrix((np.ones(len(a)), (a, b)), (len(names), len(names)))
    _, component = sparse.csgraph.connected_components(joined, directed=False)
    return pd.Series(names).groupby(component).transform("min")[place].tolist()
