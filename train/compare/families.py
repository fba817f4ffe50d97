"""Families of benchmarks, and questions that stand in several of them: what is left out together.

`families.yaml` beside this file lists the families by name. Questions are the same where their `group` is, or where
they are near twins (`train.data_folders.questions.near_twins`). Axes: N queries.
"""

from collections.abc import Collection
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from router.evaluation.dataset import Dataset
from train.data_folders.questions import group_keys, near_twins

FAMILIES: list[list[str]] = yaml.safe_load(Path(__file__).with_name("families.yaml").read_text(encoding="utf-8"))


def family_of(benchmark: str, benchmarks: Collection[str]) -> set[str]:
    """The benchmark and those of `benchmarks` that are of its family.

    >>> sorted(family_of("gsm8k", ["gsm8k", "mgsm", "bbh"]))
    ['gsm8k', 'mgsm']
    """
    patterns = [each for family in FAMILIES if _matches(benchmark, family) for each in family]
    return {benchmark} | {name for name in benchmarks if _matches(name, patterns)}


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@lru_cache(maxsize=1)
def same_questions(dataset: Dataset) -> NDArray[np.intp]:
    """A number (N,) for each query, the same for one `group` and for near twins of its questions.

    A query without a group, of a folder that has none, is grouped by its text.
    """
    texts = dataset.queries["text"].tolist()
    keys = pd.Series(group_keys(texts), dtype=object)
    group = dataset.queries["group"].astype(object) if "group" in dataset.queries else keys
    group = group.where(group.notna(), keys)
    code = pd.factorize(group)[0]
    pairs = code[np.array(near_twins(texts, code.tolist()), int).reshape(-1, 2)]
    n = int(code.max()) + 1
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    numbers: NDArray[np.intp] = connected_components(links, directed=False)[1].astype(np.intp)[code]
    return numbers
