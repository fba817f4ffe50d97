"""Command `python -m train planted --out DIR`: a synthetic data folder (docs/data.md), to train without any data.

Axes: N queries, M models.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from router.errors import UsageError
from train.data_folders.data_folder import PRICES, holds_other_files, whole_data_folder
from train.data_folders.questions import fold_of, key_of, split_of
from train.data_folders.synthetic.generate import MODELS, PlantedData, plant

PROTOCOL = POOL = "planted"
MARKER = "planted.json"  # marks a planted folder, which may be replaced
PRICE_DATE = "2026-11"  # when the prices were invented


def write_planted(folder: str | os.PathLike[str], queries: int = 3000, seed: int = 0) -> PlantedData:
    """Write a planted data folder, whole or not at all, and return the truth behind it.

    It holds the four files of the format, `pool.yaml` with all ten models, and `planted.json`. An older planted folder
    is replaced.

    Raises:
        UsageError: `folder` exists and is neither empty nor a planted folder, or cannot be written.
    """
    target = Path(folder)
    if holds_other_files(target, MARKER):
        raise UsageError(f"{target} exists and is no planted folder: name a new one, or delete it")
    planted = plant(queries, seed)
    with whole_data_folder(target) as fresh:
        _write_files(fresh, planted, seed)
    return planted


def _write_files(folder: Path, planted: PlantedData, seed: int) -> None:
    _queries(planted).to_parquet(folder / "queries.parquet", index=False)
    _outcomes(planted).to_parquet(folder / "outcomes.parquet", index=False)
    notes = "".join(json.dumps(note) + "\n" for note in planted.annotations)
    (folder / "annotations.jsonl").write_text(notes, encoding="utf-8")
    models = _models()
    models.to_csv(folder / "models.csv", index=False)
    entries = models[["model", *PRICES]].rename(columns={"model": "id"})
    pool = {"name": POOL, "protocol": PROTOCOL, "price_date": PRICE_DATE, "models": entries.to_dict("records")}
    (folder / "pool.yaml").write_text(yaml.safe_dump(pool, sort_keys=False), encoding="utf-8")
    (folder / MARKER).write_text(json.dumps({"queries": len(planted.text), "seed": seed}) + "\n", encoding="utf-8")


def _queries(planted: PlantedData) -> pd.DataFrame:
    """Rows of queries.parquet; folds from the text's hash, splits from folds as in RouteMix-open."""
    groups = [key_of(" ".join(text.lower().split())) for text in planted.text]
    folds = [fold_of(group) for group in groups]
    return pd.DataFrame(
        {
            "query_id": planted.query_ids,
            "benchmark": [f"planted-{needed[0].replace(' ', '-')}" for needed in planted.capabilities],
            "category": [known[0] for known in planted.domains],
            "text": planted.text,
            "split": [split_of(fold) for fold in folds],
            "fold": np.array(folds, np.int8),
            "group": groups,
            "ood_twin": False,
        }
    )


def _outcomes(planted: PlantedData) -> pd.DataFrame:
    """Rows of outcomes.parquet, N times M, with measured answer lengths."""
    return pd.DataFrame(
        {
            "query_id": np.repeat(planted.query_ids, len(MODELS)),
            "model": [model.name for model in MODELS] * len(planted.text),
            "score": planted.score.astype(np.float32).ravel(),
            "output_chars": planted.output_chars.ravel().astype(np.int32),
            "protocol": PROTOCOL,
            "output_chars_basis": "measured",
        }
    )


def _models() -> pd.DataFrame:
    models = pd.DataFrame(MODELS).rename(columns={"name": "model"}).assign(open_weights=0, price_basis="invented")
    return models[["model", "developer", "open_weights", *PRICES, "price_basis"]]


def main(args: list[str] | None = None) -> int:
    """The command `planted`: 0 when written, 1 when it cannot be; argparse exits with 2 on bad usage."""
    parser = argparse.ArgumentParser("python -m train planted", description="Write a small generated data folder.")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write; a planted one is replaced")
    parser.add_argument("--queries", type=int, default=3000, metavar="N", help="number of queries (default: 3000)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed gives the same folder")
    options = parser.parse_args(args)
    planted = write_planted(options.out, options.queries, options.seed)
    print(f"wrote {options.out}: {len(planted.text):,} queries, outcomes of {len(MODELS)} invented models")
    means, informed = planted.quality.mean(axis=0), planted.quality.max(axis=1).mean()
    best = int(means.argmax())
    print(f"best single model: {MODELS[best].name} {means[best]:.3f}; a router that knew the truth: {informed:.3f}")
    return 0
