"""Words of planted queries, as `world.yaml` beside this file lists them: wordings, topics, passages, remarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

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


WORDINGS = {capability: Wording(**words) for capability, words in WORLD["wordings"].items()}
DOMAINS = {name: Domain(**words) for name, words in WORLD["domains"].items()}
DIFFICULTIES = [(each["logits"], each["remarks"]) for each in WORLD["difficulties"]]  # logits, remarks in the query
