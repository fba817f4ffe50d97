"""Published scores of systems: what leaderboards print of them, a few numbers a model, from a folder's own table.

`published_scores.parquet` is optional in a data folder: `model`, `benchmark`, `score`, `unit` [, `origin`]. Scores in
[0, 1] alone are read. Axes: R scores, S systems.
"""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from router.evaluation.dataset import Dataset
from router.pools.models import System

FILE = "published_scores.parquet"
FEWEST = 20  # systems with a score, of a benchmark that is read
# Benchmarks whose questions stand in the data folders: their scores are read where rows of these are trained on, so
# that a benchmark that is left out is left out here too.
SAME_QUESTIONS = {
    "mmlu*": "mmlu*",
    "global_mmlu*": "mmlu*",
    "gsm8k*": "gsm8k",
    "mgsm*": "mgsm",
    "math_*": "math*",
    "ifeval*": "ifeval",
    "bbh*": "bbh",
    "cruxeval*": "cruxeval-o",
    "zebra*": "zebra-grid",
}
NEVER = "swe_bench*"  # means over the questions of swe-verified, those of the test folds among them


class PublishedScores(NamedTuple):
    """R scores of systems; benchmarks are numbered from 0."""

    system: NDArray[np.intp]  # (R,), rows of the systems
    benchmark: NDArray[np.intp]  # (R,)
    score: NDArray[np.float32]  # (R,) in [0, 1]


NO_SCORES = PublishedScores(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.float32))


def published_table(dataset: Dataset, trained: Collection[str]) -> pd.DataFrame:
    """Rows `model`, `benchmark`, `score` and `origin` (NaN where nobody says) of all folders; none where none has them.

    `trained` are the benchmarks with training rows, see SAME_QUESTIONS.
    """
    files = [folder / FILE for folder in dataset.folders if (folder / FILE).is_file()]
    columns = ["model", "benchmark", "score", "unit", "origin"]
    tables = [pd.read_parquet(file).reindex(columns=columns) for file in files]
    table = pd.concat(tables) if tables else pd.DataFrame(columns=columns)
    table = table[(table["unit"] == "fraction") & table["score"].between(0, 1)]
    wanted = [name for name in table["benchmark"].unique() if _counts(name, trained)]
    return table[table["benchmark"].isin(wanted)]


def published_scores(dataset: Dataset, systems: Sequence[System], trained: Collection[str]) -> PublishedScores:
    """The scores of `systems` in `published_table`, a system's median where it has several."""
    rows = pd.DataFrame({"model": [each.model for each in systems], "system": range(len(systems))})
    table = published_table(dataset, trained)
    table = table.groupby(["model", "benchmark"], as_index=False)["score"].median().merge(rows, on="model")
    table = table[table.groupby("benchmark")["model"].transform("nunique") >= FEWEST]
    number = pd.factorize(table["benchmark"], sort=True)[0]
    score = table["score"].to_numpy(np.float32)
    return PublishedScores(table["system"].to_numpy(np.intp), number.astype(np.intp), score)


def _counts(name: str, trained: Collection[str]) -> bool:
    """Whether scores of a published benchmark may be read.

    >>> _counts("gpqa_diamond", ["ikp"]), _counts("mmlu_pro", ["ikp"]), _counts("mmlu_pro", ["mmlu-redux"])
    (True, False, True)
    """
    if fnmatchcase(name, NEVER):
        return False
    same = [own for pattern, own in SAME_QUESTIONS.items() if fnmatchcase(name, pattern)]
    return all(any(fnmatchcase(each, own) for each in trained) for own in same)
