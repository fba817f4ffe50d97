"""Choices for queries and their translations: the same task in another language needs the same model.

Axes: L languages, B queries.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from router.pools.pool import Pool
from router.routing.router import Router
from train.studies.reading.figures import Figure, measured
from train.studies.reading.texts import read, written
from train.studies.robustness.flips import greatest_share

BAR = 0.85
ENGLISH = "en"


def translation_figures(router: Router, pools: Iterable[Pool], dials: Sequence[float]) -> list[Figure]:
    """Share of translations that get the English query's model, by pool and dial; intervals draw queries."""
    texts = written("translations")
    languages = [ENGLISH, *(each for each in texts if each != ENGLISH)]
    together = read(router, [text for language in languages for text in texts[language]])
    figures = []
    for pool in pools:
        made = together.in_pool(router, pool)
        for dial in dials:
            chosen = made.chosen(dial).reshape(len(languages), -1)  # (L, B)
            same = (chosen[1:] == chosen[0]).mean(axis=0)
            note = f"one model has {greatest_share(chosen[0]):.0%} in English"
            name = f"same model, dial {dial:g}"
            figures.append(measured("translations", name, np.mean, same, bar=BAR, pool=pool.name, note=note))
    return figures
