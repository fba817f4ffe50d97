"""Ten invented models of the planted data: true skills, prices, answer lengths.

No real model is meant. Skills are logits: `b + c(x)·C + k(x)·K - d(x)` is the log odds of a good answer, where the rank
weights c(x) and k(x) each sum to 1. Axes: M models, C capabilities, K knowledge domains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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


MODELS = (
    PlantedModel(
        "planted-agent", "Planted Labs", 1.2, 4.8, -0.4,
        {"agentic": 5.4, "in-context learning": 4.2, "reasoning": 1.0, "Computer Networks": 1.8}, 1100,
    ),
    PlantedModel(
        "planted-coder", "Rootstock", 0.6, 2.4, -0.6,
        {"coding": 6.0, "reasoning": 1.8, "Computer Networks": 3.0, "Mathematics": 1.8}, 900,
    ),
    PlantedModel("planted-generalist", "Planted Labs", 0.15, 0.6, 0.6, {"knowledge retrieval": 0.8}, 800),
    PlantedModel(
        "planted-large", "Planted Labs", 5.0, 15.0, 2.6,
        {"reasoning": 0.8, "comprehension": 0.5, "knowledge retrieval": 0.6, "coding": 0.4, "History": 0.4}, 1200,
    ),
    PlantedModel(
        "planted-lawyer", "Greenhouse", 0.8, 2.4, -0.5,
        {"comprehension": 3.6, "Law": 5.4, "Finance": 4.2, "History": 3.0, "instruction following": 1.0}, 1000,
    ),
    PlantedModel(
        "planted-medic", "Greenhouse", 0.9, 2.7, -0.5,
        {"knowledge retrieval": 2.4, "Medicine": 5.4, "Chemistry": 4.2, "Ecology": 4.2}, 950,
    ),
    PlantedModel(
        "planted-polyglot", "Rootstock", 0.4, 1.2, -0.4,
        {"multilingual": 6.0, "Geography": 4.2, "History": 1.8, "Cooking": 2.4, "writing": 0.8}, 700,
    ),
    PlantedModel(
        "planted-scientist", "Rootstock", 1.5, 6.0, -0.5,
        {"reasoning": 3.6, "Physics": 4.8, "Astronomy": 4.8, "Mathematics": 4.2, "Chemistry": 2.4}, 1600,
    ),
    PlantedModel("planted-tiny", "Sprout", 0.03, 0.06, -1.2, {"knowledge retrieval": 0.5}, 450),
    PlantedModel(
        "planted-writer", "Sprout", 0.5, 2.0, -0.5,
        {"writing": 6.0, "instruction following": 4.8, "Music": 3.6, "Cooking": 3.0, "Sports": 3.0}, 1300,
    ),
)  # fmt: skip

# Factor of answer lengths, by the capability that a query needs first.
LENGTH_FACTORS = {
    "reasoning": 1.3,
    "comprehension": 0.4,
    "instruction following": 0.6,
    "agentic": 1.2,
    "knowledge retrieval": 0.35,
    "coding": 1.6,
    "in-context learning": 0.15,
    "multilingual": 0.7,
    "writing": 2.4,
}


def skills_of(axes: Sequence[str]) -> NDArray[np.float64]:
    """True skills (M, A) of `MODELS` on `axes`; 0 without a particular skill."""
    return np.array([[model.skills.get(axis, 0.0) for axis in axes] for model in MODELS])
