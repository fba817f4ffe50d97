"""Planted world, as `world.yaml` beside this file states it: words of queries, and ten invented models.

Skills are logits: `b + c(x)·C + k(x)·K - d(x)` is the log odds of a good answer, where the rank weights c(x) and k(x)
each sum to 1. Axes: M models, C capabilities, K knowledge domains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

WORLD: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("world.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Wording:
    """Wordings of queries that need one capability: an opening and a task, or an addition to another task."""

    openings: list[str]
    tasks: list[str]
    additions: list[str]


@dataclass(frozen=True)
class Domain:
    """Subjects of a knowledge domain, and other names that annotators give it."""

    topics: list[str]
    synonyms: list[str]


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


WORDINGS = {capability: Wording(**words) for capability, words in WORLD["wordings"].items()}
DOMAINS = {name: Domain(**words) for name, words in WORLD["domains"].items()}
DIFFICULTIES = [(each["logits"], each["remarks"]) for each in WORLD["difficulties"]]  # logits, remarks in the query
MODELS = tuple(PlantedModel(**facts) for facts in WORLD["models"])
LENGTH_FACTORS: dict[str, float] = WORLD["length_factors"]  # of answers, by the capability that a query needs first


def skills_of(axes: Sequence[str]) -> NDArray[np.float64]:
    """True skills (M, A) of `MODELS` on `axes`; 0 without a particular skill."""
    return np.array([[model.skills.get(axis, 0.0) for axis in axes] for model in MODELS])
