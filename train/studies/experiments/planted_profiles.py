"""Planted profiles and their recovery: queries with known requirements, models with known profiles, drawn scores.

A model's entry on an axis is the chance that it answers a query which needs that axis alone; a query that needs several
mixes them by their rank weights. Generated data throughout. Axes: N queries, M models, C capabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import stats

from router.arrays import sigmoid
from router.network.taxonomy import CAPABILITIES, rank_weights
from router.onboarding.profile_fit import ProfilePrior, fit_profile
from train.data_folders.synthetic.generate import NUMBERS_OF_CAPABILITIES, PlantedData
from train.fit.closed_form import ClosedForm

Array = NDArray[np.float64]

MEAN, SPREAD = 0.6, 0.2  # of the planted entries: normal, clipped to EXTREMES
EXTREMES = (0.02, 0.98)
NOISE = 0.2  # standard deviation of a graded score about its expectation
PRIOR_SPREAD = 1.0  # of the fitted logits about the model's mean
ENOUGH = 50  # answers of an axis whose profile is judged
SWEEPS = 1500  # over all axes; the first fifth is thrown away
STEP = 0.15  # standard deviation of a proposal


@dataclass(frozen=True)
class Planted:
    """True requirements and profiles, and the scores drawn from them."""

    requirement: Array  # (N, C) rank weights; a row sums to 1
    profile: Array  # (M, C) in [0, 1]
    score: Array  # (N, M)


def draw_requirements(queries: int, rng: Generator) -> Array:
    """Requirements (N, C) of one to three capabilities, the k-th of which is 1/k as frequent as the first."""
    share = 1 / np.arange(1, len(CAPABILITIES) + 1)
    requirement = np.zeros((queries, len(CAPABILITIES)))
    for row in requirement:
        n = int(rng.choice(len(NUMBERS_OF_CAPABILITIES), p=NUMBERS_OF_CAPABILITIES)) + 1
        row[rng.choice(len(row), size=n, replace=False, p=share / share.sum())] = rank_weights(n)
    return requirement


def requirements_of(world: PlantedData) -> Array:
    """True requirements (N, C) of a planted world's queries."""
    requirement = np.zeros((len(world.text), len(CAPABILITIES)))
    for row, names in zip(requirement, world.capabilities, strict=True):
        row[[CAPABILITIES.index(name) for name in names]] = rank_weights(len(names))
    return requirement


def plant_profiles(requirement: Array, models: int, graded: bool, rng: Generator) -> Planted:
    """Profiles of `models` models and their scores: 0 or 1, or `graded`, with normal noise."""
    profile = np.clip(rng.normal(MEAN, SPREAD, (models, requirement.shape[1])), *EXTREMES)
    chance = requirement @ profile.T
    if graded:
        score = np.clip(chance + rng.normal(0, NOISE, chance.shape), 0, 1)
    else:
        score = (rng.random(chance.shape) < chance).astype(np.float64)
    return Planted(requirement, profile, score)


def closed_form(requirement: Array, score: Array) -> Array:
    """Profiles (M, C) by the paper's closed form, over those of perfect scores: weighted mean scores."""
    perfect = ClosedForm().fit(requirement, np.ones_like(score)).profile
    return np.asarray(ClosedForm().fit(requirement, score).profile / perfect, np.float64)


def fitted(requirement: Array, score: Array) -> Array:
    """Profiles (M, C) by our fit: a logistic regression drawn to the model's mean, as probabilities."""
    axes = requirement.shape[1]
    rows = []
    for column in score.T:
        mean = float(np.clip(column.mean(), *EXTREMES))
        prior = ProfilePrior(np.full(axes, np.log(mean / (1 - mean))), np.eye(axes) * PRIOR_SPREAD, np.zeros((1, axes)))
        rows.append(fit_profile(requirement, column, prior).row)
    return sigmoid(np.stack(rows))


def posterior_mean(requirement: Array, score: Array, seed: int = 0) -> Array:
    """Expected profiles (M, C) given requirements (N, C), scores of 0 and 1 (N, M) and the planted distribution.

    Metropolis steps on one axis at a time. No estimate is nearer to the truth in the mean square, so this bounds every
    fit that sees the scores alone.
    """
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


Fit = Callable[[Array, Array], Array]  # requirements (N, C) and scores (N, M) to profiles (M, C)
FITS: dict[str, Fit] = {"closed form": closed_form, "our fit": fitted}


def recovery(planted: Planted, read: Array | None = None, fits: Mapping[str, Fit] = FITS) -> dict[str, Any]:
    """Rank correlations of planted and recovered entries on axes with ENOUGH answers, by each of `fits`.

    `read` (N, C) are the requirements that the fits know, the true ones by default. `all` correlates all entries at
    once, `axis` is the mean over axes of the correlation across models, `worst` the least of those.
    """
    read = planted.requirement if read is None else read
    answers = (planted.requirement > 0).sum(axis=0)
    judged = np.flatnonzero(answers >= ENOUGH)
    figures: dict[str, Any] = {"answers": answers.tolist(), "judged_axes": len(judged)}
    for name, fit in fits.items():
        found, truth = fit(read, planted.score)[:, judged], planted.profile[:, judged]
        by_axis = [_rank_correlation(found[:, a], truth[:, a]) for a in range(len(judged))]
        figures[name] = {
            "all": _rank_correlation(found.ravel(), truth.ravel()),
            "axis": float(np.mean(by_axis)),
            "worst": float(np.min(by_axis)),
        }
    return figures


def _rank_correlation(one: Array, other: Array) -> float:
    return float(stats.spearmanr(one, other).statistic)
