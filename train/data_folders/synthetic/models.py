"""Ten invented models of the planted data: true skills, prices, answer lengths.

No real model is meant. Skills are logits: `b + c(x)·C + k(x)·K - d(x)` is the log odds of a good answer, where the rank
weights c(x) and k(x) each sum to 1. Axes: M models, C capabilities, K knowledge domains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.data_folders.synthetic.words import WORLD


@dataclass(frozen=True)
class PlantedModel:
    """True skills, prices and answer length of one invented model."""

    name: str
    developer: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    bias: float  # log odds of a good answer without a particular skill
    skills: Mapping[str, float]  # capability or domain -> logits added where a query needs nothing else of that kind
    usual_chars: int  # median length of its answers


MODELS = tuple(PlantedModel(**facts) for facts in WORLD["models"])
LENGTH_FACTORS: dict[str, float] = WORLD["length_factors"]  # of answers, by the capability that a query needs first


def skills_of(axes: Sequence[str]) -> NDArray[np.float64]:
    """True skills (M, A) of `MODELS` on `axes`; 0 without a particular skill."""
    return np.array([[model.skills.get(axis, 0.0) for axis in axes] for model in MODELS])
