"""Model card of a checkpoint: how it was trained and its validation figures, as text."""

import datetime
import os
import platform
from collections.abc import Mapping
from typing import Any

from train.data.training_data import TrainingData

FRONT_MATTER = """---
license: apache-2.0
library_name: inferencedynamics
tags: [llm-routing, router, text-classification]
{base}---
"""

COLUMNS = {
    "n": "n",
    "best_single": "best single",
    "oracle": "oracle",
    "quality_margin": "quality − best single",
    "aiq_zero": "AIQ of the Zero router",
    "aiq_margin": "AIQ margin",
    "half_margin": "half cost − best single",
    "ece": "ECE",
    "brier": "Brier",
    "brier_constant": "Brier, constant",
}


def measured_by(command: str) -> str:
    """Command, date and machine of a measurement, as a sentence."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"`{command}`, {datetime.date.today().isoformat()}, {machine}."


def figures_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown table of `router evaluate` figures by pool, margins as docs/method.md quotes them."""
    lines = ["| pool | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, raw in figures.items():
        half = raw["quality_at_half_cost"]
        row = {
            **raw,
            "quality_margin": raw["quality"] - raw["best_single"],
            "aiq_margin": raw["aiq"] - raw["aiq_zero"],
            "half_margin": None if half is None else half - raw["best_single"],
        }
        lines.append(f"| {name} | " + " | ".join(_cell(key, row[key]) for key in COLUMNS) + " |")
    return "\n".join(lines)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if key == "n":
        return f"{value:,}"
    return f"{value:+.3f}" if key.endswith("margin") else f"{value:.3f}"


def write_card(
    name: str, data: TrainingData, metadata: Mapping[str, Any], figures: Mapping[str, Mapping[str, Any]]
) -> str:
    """The card of a newly trained router, with validation figures only."""
    rows = metadata["data"]
    benchmarks = sorted(set(data.dataset.queries["benchmark"].to_numpy()[data.train_rows]))
    settings = "\n".join(f"- `{key}`: {value}" for key, value in metadata["model"].items())
    base = f"base_model: {metadata['base_model']}\n" if metadata["base_model"] else ""
    return f"""{FRONT_MATTER.format(base=base)}
# {name}

A learned LLM router (InferenceDynamics, arXiv 2505.16303, as trained by the package `inferencedynamics`): the encoder
reads a query and predicts {len(data.taxonomy.capabilities)} capabilities and {len(data.taxonomy.domains)} knowledge
domains; profiles of {len(data.systems)} systems under {len(data.protocols)} protocols turn them into a calibrated
probability of a good answer; a cost dial trades it against predicted cost.

## Training

- rows: {len(data.train_rows):,} of folds {rows["train_folds"]}; chosen and calibrated on {len(data.val_rows):,} of
  folds {rows["val_folds"]}; seed {metadata["seed"]}, best epoch {metadata["best_epoch"]}
- out-of-distribution benchmarks trained on by name: {", ".join(rows["ood_benchmarks"]) or "none"}
- training rows nobody annotated carry a teacher's labels, which weigh {rows["weak_label_weight"]}
- benchmarks: {", ".join(benchmarks)}

{settings}

## Validation figures (before calibration; the same rows chose the epoch and the weight of prototypes)

{figures_table(figures)}

## Limits

It knows the queries and models it was trained on: on other traffic the probabilities may be off; train on graded
answers of your own. Prices may be edited in `profiles.json`. Whoever writes the query can steer the route. Oracle
figures on multiple choice are inflated by lucky guesses.
"""
