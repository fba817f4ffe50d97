"""A generated world for docs/guide.md: its files of queries and models, and what routing on it can be worth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from planted_llm import reference

from router.evaluation import metrics
from router.evaluation.dataset import Dataset
from router.evaluation.pool_report import pool_outcomes, reference_models, row_masks
from router.pools.pool import read_pool
from train.data_folders.synthetic.generate import PlantedWorld, plant
from train.data_folders.synthetic.models import MODELS, PlantedModel

MEMBERS = MODELS[:8]


def write_world(folder: Path, queries: int, members: Sequence[PlantedModel] = MEMBERS, seed: int = 0) -> PlantedWorld:
    """Write queries.jsonl and pool.yaml of a planted world, as the guide's reader would."""
    world = plant(queries, seed)
    rows = [
        {"query_id": f"planted/{row}", "query": text, "answer": reference(row)} for row, text in enumerate(world.text)
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    entries: list[dict[str, Any]] = [
        {
            "id": model.name,
            "input_usd_per_mtok": model.input_usd_per_mtok,
            "output_usd_per_mtok": model.output_usd_per_mtok,
            "upstream": {"api_base": "https://api.example.com/v1", "key_env": "EXAMPLE_API_KEY"},
        }
        for model in members
    ]
    (folder / "pool.yaml").write_text(yaml.safe_dump({"name": "mine", "models": entries}, sort_keys=False))
    return world


@dataclass(frozen=True)
class Allowed:
    """AIQ on some folds: of the best single model, of all single models' hull, and of a router that knows the truth."""

    best_single: float
    zero: float
    informed: float


def allowed(world: PlantedWorld, dataset: Dataset, pool_file: Path, folds: list[int]) -> Allowed:
    """What the planted profiles allow on `folds`: choices by true quality and expected cost, judged on the outcomes."""
    pool = read_pool(pool_file, dataset.systems)
    outcomes, (evaluated, training) = pool_outcomes(dataset, pool), row_masks(dataset, None, folds)
    best, cheapest = reference_models(outcomes.take(training), pool)
    judged = outcomes.take(evaluated)
    rows = np.array([int(query.split("/")[1]) for query in dataset.queries["query_id"].to_numpy()[judged.rows]])
    columns = [[model.name for model in MODELS].index(each) for each in pool.ids]
    quality = world.quality[np.ix_(rows, columns)]
    cost = judged.realised_usd  # the truth of a router that knows each answer's length
    informed = metrics.evaluate(quality, cost, judged.score, judged.realised_usd, best, cheapest)
    constant = np.zeros_like(quality)
    constant[:, best] = 1.0
    always_best = metrics.evaluate(constant, np.zeros_like(cost), judged.score, judged.realised_usd, best, cheapest)
    return Allowed(always_best.aiq, informed.aiq_zero, informed.aiq)
