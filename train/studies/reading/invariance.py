"""Choices under rewordings and wrappers that ask the same, at the dials where the models of a pool share the calls.

Axes: B queries.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from router.evaluation.dataset import Dataset
from router.evaluation.metrics import Array
from router.pools.pool import Pool
from router.routing.router import Router
from train.studies.reading.figures import Figure, measured
from train.studies.reading.texts import InPool, read
from train.studies.robustness.flips import SHARE_LIMIT, draw_sample, greatest_share
from train.studies.robustness.rewording import perturbed

BARS = {"typos": 0.93, "upper case": 0.93, "lower case": 0.93, "padding": 0.93} | dict.fromkeys(
    ("greeting", "politeness", "system prompt", "Markdown", "JSON wrapper", "code fence"), 0.85
)
LOST = 0.001  # utility
PART = "unchanged"


def shared_dials(plain: InPool, dials: Iterable[float]) -> list[float]:
    """Those of `dials` at which no model takes SHARE_LIMIT of the calls or more."""
    return [dial for dial in dials if greatest_share(plain.chosen(dial)) < SHARE_LIMIT]


def unchanged(plain: InPool, changed: InPool, dials: Sequence[float]) -> Array:
    """Share of `dials` (B,) at which the changed text gets the plain one's model."""
    return np.asarray(np.mean([plain.chosen(dial) == changed.chosen(dial) for dial in dials], axis=0))


def utility_lost(plain: InPool, changed: InPool, dials: Sequence[float]) -> Array:
    """Utility (B,) lost by the changed text's choice under the plain text's predictions, mean over `dials` below 10."""
    rows = np.arange(len(plain.quality))
    lost = [
        utility[rows, plain.chosen(dial)] - utility[rows, changed.chosen(dial)]
        for dial, utility in ((dial, plain.utility(dial)) for dial in dials)
    ]
    return np.asarray(np.mean(lost, axis=0))


def invariance(
    router: Router,
    dataset: Dataset,
    pools: Iterable[Pool],
    folds: Sequence[int],
    dials: Sequence[float],
    queries: int,
    seed: int,
) -> list[Figure]:
    """Share of choices unchanged and utility lost, by pool and rewording, on at most `queries` of a pool."""
    figures: list[Figure] = []
    about: dict[str, Any]
    for pool in pools:
        texts = draw_sample(dataset, pool, folds, queries, seed).texts
        plain = read(router, texts).in_pool(router, pool)
        shared = shared_dials(plain, dials)
        if not shared:
            note = f"at each of the dials one model has {SHARE_LIMIT:.0%} of the calls or more"
            about = {"n": len(texts), "pool": pool.name, "note": note}
            figures += [Figure(PART, name, np.nan, bar=bar, **about) for name, bar in BARS.items()]
            continue
        about = {"pool": pool.name, "note": "dials " + ", ".join(f"{dial:g}" for dial in shared)}
        for name, bar in BARS.items():
            changed = read(router, [perturbed(text, name, seed) for text in texts]).in_pool(router, pool)
            same, lost = unchanged(plain, changed, shared), utility_lost(plain, changed, shared)
            figures.append(measured(PART, name, np.mean, same, bar=bar, **about))
            figures.append(measured(PART, f"{name}, utility lost", np.mean, lost, bar=LOST, better=-1, **about))
    return figures
