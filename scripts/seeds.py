"""Spread over seeds: a frozen-encoder configuration trained with several seeds, each router judged on the test folds.

    python scripts/seeds.py configs/routemix-frozen.yaml --seeds 0 1 2 3 4 --folds 8,9 [--pools chat27 ...]

Prints one JSON object: per pool the mean, standard deviation and values over seeds of each margin. All seeds share
the encoder, so queries are embedded once.
"""

import argparse
import contextlib
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from router.evaluation.dataset import read_dataset
from router.evaluation.pool_report import evaluate_router
from train import cli
from train.compare.ours import load, moved
from train.studies.inputs import folds
from train.studies.measure import agreement


def margins(report: dict[str, float]) -> dict[str, float]:
    """Figures compared between seeds."""
    return {
        "aiq_margin": report["aiq"] - report["aiq_zero"],
        "quality_margin": report["quality"] - report["best_single"],
        "half_cost_margin": report["quality_at_half_cost"] - report["best_single"],
        "ece": report["ece"],
    }


def spread(values: list[float]) -> dict[str, object]:
    """Mean, standard deviation (None for one value) and the values."""
    return {"mean": np.mean(values), "sd": np.std(values, ddof=1) if len(values) > 1 else None, "values": values}


def main() -> int:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--folds", type=folds, default="8,9")
    parser.add_argument("--split", help="judge a split in place of folds, such as ood")
    parser.add_argument("--pools", nargs="+", help="default: all of the checkpoint")
    parser.add_argument("--out", default="runs/seeds", help="folder of the runs")
    parser.add_argument("--fit", nargs=argparse.REMAINDER, default=[], help="further arguments of `fit`, last")
    options = parser.parse_args()
    rows: dict[str, Any] = {"split": options.split} if options.split else {"folds": options.folds}
    dataset = read_dataset()
    texts = dataset.queries["text"].tolist()
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in options.seeds:
        out = Path(options.out) / Path(options.config).stem / str(seed)
        if not (out / "router").is_dir():
            with contextlib.redirect_stdout(sys.stderr):  # stdout holds the JSON alone
                failed = cli.main(
                    ["fit", "--config", str(moved(options.config, out)), "--seed_everything", str(seed), *options.fit]
                )
            if failed:
                return 1
        router = load(out / "router", texts, "runs/cache")
        made = {name: margins(evaluate_router(router, dataset, name, **rows)) for name in options.pools or router.pools}
        if not options.split:
            capability, domain, _ = agreement(router, dataset, options.folds)
            made["annotations"] = {"first_capability": capability or 0.0, "first_domain": domain or 0.0}
        for name, report in made.items():
            for key, value in report.items():
                figures[name][key].append(value)
    summary = {pool: {key: spread(values) for key, values in each.items()} for pool, each in figures.items()}
    print(json.dumps({"config": options.config, "rows": rows, "seeds": options.seeds, "figures": summary}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
