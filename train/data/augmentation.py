"""Rewords training queries, so that a router learns to choose alike whatever the wording.

Which rows are reworded, and how, depends on seed, epoch and row alone: a resumed run sees what an uninterrupted one
would. Knows no tokens and no embeddings.
"""

from __future__ import annotations

import numpy as np

from train.data.rewording import PERTURBATIONS

# What an uncased encoder reads otherwise than the query itself; case and white space it does not see.
REWORDINGS = ("typos", "paraphrase", "politeness", "distraction")


def is_reworded(share: float, seed: int, epoch: int, row: int) -> bool:
    """Whether `row` is among the `share` in [0, 1] of rows that are reworded in `epoch`."""
    return share > 0 and bool(np.random.default_rng([seed, epoch, row]).random() < share)


def reworded(text: str, seed: int, version: int, row: int) -> str:
    """One of the rewordings of `text`, drawn for `row`; another for each `version`."""
    generator = np.random.default_rng([seed, version, row, 1])
    name = REWORDINGS[int(generator.integers(len(REWORDINGS)))]
    return PERTURBATIONS[name](text, generator)
