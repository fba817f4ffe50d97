"""Onboarding study: quality of profiles from few answers and from benchmark scores, `python -m train onboarding`.

Networks are trained without a group of a pool's models, in turn, so that a model is onboarded by a network that never
saw it; one more network is trained with all. Each left-out model is fitted from many draws of few answers on the
training folds and judged on the test folds: its excess log loss over its trained profile, and what it adds to the curve
of the others, next to what it adds when trained with them. Writes a Markdown table and a JSON file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from router.errors import UsageError
from router.evaluation.dataset import Dataset, data_folder, read_dataset
from router.files import atomic_write
from router.pools.pool import Pool, read_pool
from train.compare import ours
from train.compare.regimes import Rows, rotation_folds
from train.compare.report.markdown import markdown_table
from train.studies.arguments import folds
from train.studies.onboarding_pool import LeftOut

DESCRIPTION = "How good profiles from few answers and from benchmark scores are: `python -m train onboarding`."
COLUMNS = "pool|profile from|answers|excess log loss, mean · worst|AIQ recovered, together · least|models".split("|")


def left_out_groups(dataset: Dataset, pools: Sequence[Pool], groups: int, seed: int) -> list[list[str]]:
    """The pools' models, shuffled, in `groups` groups."""
    models = sorted({c.system.model for pool in pools for c in pool.candidates if c.system is not None})
    order = np.random.default_rng(seed).permutation(len(models))
    return [[models[i] for i in order[start::groups]] for start in range(groups)]


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over draws and models per pool, way and number of answers, and the worst model.

    `recovered` is the share of the models' worth, in height of the curve, that onboarding recovers for all of them
    together; `least_recovered` is that of the model with the least.
    """
    frame = pd.DataFrame(rows).astype({"added": float})
    of_models = frame.groupby(["pool", "way", "n", "model"], sort=False)[["excess", "added", "worth"]].mean()
    found = []
    for (pool, way, n), each in of_models.groupby(level=[0, 1, 2], sort=False):
        counted = each.dropna()
        found.append({
            "pool": pool, "way": way, "n": n, "models": len(each), "excess": float(each["excess"].mean()),
            "worst": float(each["excess"].max()), "counted": len(counted), "worth": float(counted["worth"].sum()),
            "recovered": float(counted["added"].sum() / counted["worth"].sum()) if len(counted) else None,
            "least_recovered": float((counted["added"] / counted["worth"]).min()) if len(counted) else None,
        })  # fmt: skip
    return found


def as_table(found: Sequence[dict[str, Any]]) -> str:
    """Markdown table of the summary."""
    cells = []
    for row in found:
        back = ""
        if row["recovered"] is not None:
            back = f"{row['recovered']:.0%} · {row['least_recovered']:.0%} (of {row['counted']})"
        loss = f"{row['excess']:+.4f} · {row['worst']:+.4f}"
        cells.append((row["pool"], row["way"], str(row["n"]), loss, back, str(row["models"])))
    return markdown_table(COLUMNS, cells) + "\n"


def main(args: list[str] | None = None) -> int:
    """Write OUT/onboarding.md and OUT/onboarding.json and print the table; 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m train onboarding", description=DESCRIPTION)
    parser.add_argument(
        "--config", default="configs/routemix-frozen.yaml", help="what is trained (default %(default)s)"
    )
    parser.add_argument("--data", help="data folder; default ROUTEMIX_DIR, else data/routemix-open")
    parser.add_argument("--pools", nargs="+", default=["configs/pools/chat27.yaml", "configs/pools/lmeval18.yaml"])
    parser.add_argument("--answers", nargs="+", type=int, default=[10, 25, 50, 100, 250], metavar="N")
    parser.add_argument("--draws", type=int, default=20, help="of the graded answers (default %(default)s)")
    parser.add_argument(
        "--groups", type=int, default=5, help="of left-out models, a training each (default %(default)s)"
    )
    parser.add_argument("--judge", type=folds, help="judge on these folds (default: the test folds 8 and 9)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", default="runs/cache", help="folder of cached embeddings")
    parser.add_argument("--out", type=Path, default=Path("runs/onboarding"))
    options = parser.parse_args(args)
    if min(*options.answers, options.draws, options.groups) < 1:
        raise UsageError("--answers, --draws and --groups must be at least 1")
    rows = study(options)
    found = summary(rows)
    command = "python -m train onboarding " + " ".join(sys.argv[2:] if args is None else args)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    text = f"`{command.strip()}`, {datetime.date.today().isoformat()}, {machine}.\n\n{as_table(found)}"
    options.out.mkdir(parents=True, exist_ok=True)
    atomic_write(options.out / "onboarding.json", json.dumps({"summary": found, "models": rows}, indent=1).encode())
    atomic_write(options.out / "onboarding.md", text.encode())
    print(text)
    return 0


def study(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of every pool, after the missing networks are trained."""
    dataset = read_dataset(data_folder(options.data))
    pools = [read_pool(file, dataset.systems) for file in options.pools]
    train_folds, val_fold, test_folds = rotation_folds(0)
    fold = dataset.queries["fold"].to_numpy()
    train = np.isin(fold, train_folds)
    rows = Rows(train, fold == val_fold, np.isin(fold, options.judge or test_folds), train)
    groups = left_out_groups(dataset, pools, options.groups, options.seed)
    checkpoints = []
    for g, models in enumerate(tqdm([[], *groups], "training", unit="network", disable=not sys.stderr.isatty())):
        run, key = options.out / f"without-{g}", json.dumps([options.config, *sorted(models)])
        checkpoints.append(ours.fit(options.config, 0, dataset, rows, run, key, options.cache, without=models))
    texts = dataset.queries["text"].tolist()
    full, *reduced = (ours.load(each, texts, options.cache) for each in checkpoints)
    reduced_of = {model: each.checkpoint for each, models in zip(reduced, groups, strict=True) for model in models}
    found = []
    for pool in pools:
        judged = LeftOut(dataset, full.pool(pool.name), rows, full, options.draws, options.answers)
        found += judged.rows(reduced_of, options.seed, sys.stderr.isatty())
    return found
