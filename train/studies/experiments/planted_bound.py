"""How well planted profiles can be recovered at all from scores of 0 and 1: by someone who is told how they were drawn.

The posterior mean under the very distribution that `planted_profiles` draws from, by Metropolis steps on one axis at a
time. Of all estimates it is nearest to the truth in the mean square: no fit that only sees the scores can be expected
to do better. Axes: N queries, M models, C capabilities.
"""

from __future__ import annotations

import numpy as np

from train.studies.experiments.planted_profiles import EXTREMES, MEAN, SPREAD, Array

SWEEPS = 1500  # over all axes; the first fifth is thrown away
STEP = 0.15  # standard deviation of a proposal


def posterior_mean(requirement: Array, score: Array, seed: int = 0) -> Array:
    """(M, C) expected entries given requirements (N, C) and scores of 0 and 1 (N, M)."""
    rng = np.random.default_rng(seed)
    models, axes = score.shape[1], requirement.shape[1]
    drawn = np.full((models, axes), MEAN)  # before it is clipped
    total = np.zeros_like(drawn)
    touched = [np.flatnonzero(requirement[:, axis]) for axis in range(axes)]
    right = score.T == 1  # (M, N)
    chance = drawn @ requirement.T  # (M, N)
    for sweep in range(SWEEPS):
        for axis, rows in enumerate(touched):
            before = drawn[:, axis]
            after = before + rng.normal(0, STEP, models)
            moved = np.clip(after, *EXTREMES) - np.clip(before, *EXTREMES)
            old = chance[:, rows]
            new = old + moved[:, None] * requirement[rows, axis]
            gain = np.where(right[:, rows], np.log(new / old), np.log((1 - new) / (1 - old))).sum(axis=1)
            gain -= ((after - MEAN) ** 2 - (before - MEAN) ** 2) / (2 * SPREAD**2)
            taken = np.log(rng.random(models)) < gain
            drawn[taken, axis] = after[taken]
            chance[np.ix_(taken, rows)] = new[taken]
        if sweep >= SWEEPS // 5:
            total += np.clip(drawn, *EXTREMES)
    return total / (SWEEPS - SWEEPS // 5)
