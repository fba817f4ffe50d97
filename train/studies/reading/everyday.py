"""Everyday prompts of five difficulties: how the calls are shared, and whether hard ones get more than easy ones.

Axes: B prompts.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from router.arrays import host
from router.evaluation.metrics import Array
from router.pools.pool import Pool
from router.routing.router import Router
from train.studies.reading.figures import Figure, measured, spearman
from train.studies.reading.texts import read, written
from train.studies.robustness.flips import greatest_share

EASY, HARD = 1, 4  # at most, at least
PART = "everyday prompts"


def hard_over_easy(cost: Array, difficulty: NDArray[np.intp]) -> float:
    """Mean cost (B,) of the hard prompts over that of the easy ones; NaN without one of them.

    >>> hard_over_easy(np.array([1.0, 9.0, 4.0]), np.array([1, 3, 5]))
    4.0
    """
    easy, hard = cost[difficulty <= EASY], cost[difficulty >= HARD]
    return float(hard.mean() / easy.mean()) if len(easy) and len(hard) else np.nan


def everyday_figures(router: Router, pools: Iterable[Pool], dials: Sequence[float]) -> list[Figure]:
    """Share of the most used model and cost of hard over easy by pool and dial, and the level against ours.

    The issue sets no bar for them.
    """
    prompts = written("everyday")
    difficulty = np.array([level for level, texts in prompts.items() for _ in texts])
    made = read(router, [text for texts in prompts.values() for text in texts])
    figures = [measured(PART, "difficulty against ours", spearman, host(made.vectors.level), difficulty)]
    for pool in pools:
        found = made.in_pool(router, pool)
        for dial in dials:
            chosen = found.chosen(dial)
            cost = found.cost[np.arange(len(chosen)), chosen]
            share, costs = f"share of the most used model, dial {dial:g}", f"cost of hard over easy, dial {dial:g}"
            figures.append(measured(PART, share, greatest_share, chosen, better=-1, pool=pool.name))
            figures.append(measured(PART, costs, hard_over_easy, cost, difficulty, pool=pool.name))
    return figures
