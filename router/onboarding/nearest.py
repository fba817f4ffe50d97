"""Nearest known models of a new one: those that the router expects to be good and bad on the same queries.

Axes: n queries, F numbers of a profile, S systems.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.arrays import clipped_sigmoid, host
from router.checkpoint.checkpoint import Checkpoint
from router.onboarding.profile_fit import Array
from router.pools.models import System

DRAWS = 2000  # of a profile, for the interval of its mean quality
INTERVAL = (0.1, 0.9)


@dataclass(frozen=True)
class ExpectedQuality:
    """What the router expects of one system on some queries."""

    system: System
    quality: float  # mean over the queries
    interval: tuple[float, float] | None  # of that mean, 80%; None for a trained profile, which is a point
    distance: float  # rms difference of its qualities to the new model's; 0 for the new model itself


def beside_nearest(checkpoint: Checkpoint, system: System, features: Array, n: int = 5) -> Sequence[ExpectedQuality]:
    """The added `system` first, then the `n` others under its reference protocol that are nearest on the queries.

    `features` (n, F) are those of the queries under that protocol.
    """
    learned, systems = checkpoint.all_learned, checkpoint.all_systems
    rows, column = host(learned.rows()).astype(np.float64), host(learned.protocol)
    place, factors = systems.index(system), checkpoint.covariance_factors
    own = clipped_sigmoid(features @ rows[place])
    found = []
    for other in np.flatnonzero(column == column[place]):
        quality = clipped_sigmoid(features @ rows[other])
        factor = factors.get(systems[other])
        interval = None if factor is None else mean_interval(features, rows[other], factor.astype(np.float64))
        distance = float(np.sqrt(np.square(quality - own).mean()))
        found.append(ExpectedQuality(systems[other], float(quality.mean()), interval, distance))
    found.sort(key=lambda each: (each.system != system, each.distance))
    return found[: n + 1]


def mean_interval(features: Array, row: Array, factor: Array) -> tuple[float, float]:
    """The 80% interval of the mean quality over queries with `features` (n, F), for a row (F,) of covariance
    factor @ factor.T.

    >>> low, high = mean_interval(np.ones((3, 1)), np.zeros(1), np.ones((1, 1)))
    >>> round(low, 1), round(high, 1)
    (0.2, 0.8)
    """
    draws = np.random.default_rng(0).standard_normal((DRAWS, factor.shape[1]))
    logits = features @ row + draws @ (features @ factor).T  # (DRAWS, n)
    low, high = np.quantile(clipped_sigmoid(logits).mean(axis=1), INTERVAL)
    return float(low), float(high)
