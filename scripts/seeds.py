"""Trains a frozen-encoder configuration with several seeds and judges each exported router on the test folds.

    python scripts/seeds.py configs/routemix-frozen.yaml --seeds 0 1 2 3 4 --folds 8,9 [--pools chat27 ...]

Prints one JSON object: per pool the mean, standard deviation and values over seeds of each margin. Queries are embedded
once, since all seeds share the encoder.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from torch import Tensor

from router.dataset import Dataset, data_folder, read_dataset
from router.encoder import QueryEncoder
from router.evaluation import evaluate_router, pool_outcomes, predict, reference_models, row_masks
from router.metrics import choose
from router.policy import DEFAULT_DIAL, cost_weights
from router.routing import Router
from train import cli
from train.data import cached_embeddings
from train.measure import agreement


class CachedEncoder:
    """Stands in for a router's encoder: looks embeddings up by text."""

    def __init__(self, encoder: QueryEncoder, texts: list[str], cache: Path, bf16: bool) -> None:
        self.embeddings = cached_embeddings(encoder, texts, cache, bf16)
        self.row_of = {text: row for row, text in enumerate(texts)}

    def encode(self, texts: list[str], batch_size: int = 0) -> Tensor:
        """Embeddings (B, E) of texts known at the start."""
        return self.embeddings[[self.row_of[text] for text in texts]]


def margins(report: dict[str, float]) -> dict[str, float]:
    """The figures compared between seeds."""
    return {
        "aiq_margin": report["aiq"] - report["aiq_zero"],
        "quality_margin": report["quality"] - report["best_single"],
        "half_cost_margin": report["quality_at_half_cost"] - report["best_single"],
        "ece": report["ece"],
    }


def calls_elsewhere(router: Router, dataset: Dataset, name: str, split: str | None, folds: list[int] | None) -> float:
    """Share of the judged queries that the default dial does not send to the best single model of the training rows."""
    pool = router.pool(name)
    outcomes = pool_outcomes(dataset, pool)
    judged, training = (outcomes.take(mask) for mask in row_masks(dataset, split, folds))
    best, _ = reference_models(training, pool)
    seen = predict(router, dataset.queries["text"].to_numpy()[judged.rows].tolist(), pool)
    _, weights = cost_weights(DEFAULT_DIAL, 1, router.candidates(pool).cost_range_usd)
    return float((choose(seen.quality, seen.cost_usd, float(weights[0])) != best).mean())


def moved(config: str, out: Path) -> Path:
    """A copy of the configuration that writes under `out` in place of `runs/<its name>`, without a logger."""
    out.mkdir(parents=True, exist_ok=True)
    settings = yaml.safe_load(re.sub(rf"runs/{Path(config).stem}(?![\w-])", str(out), Path(config).read_text()))
    settings["trainer"]["logger"] = False
    copy = out / "config.yaml"
    copy.write_text(yaml.safe_dump(settings))
    return copy


def spread(values: list[float]) -> dict[str, object]:
    """Mean, standard deviation (None of one value) and the values."""
    return {"mean": np.mean(values), "sd": np.std(values, ddof=1) if len(values) > 1 else None, "values": values}


def main() -> int:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--folds", default="8,9")
    parser.add_argument("--split", help="judge a split in place of folds, such as ood")
    parser.add_argument("--pools", nargs="+", help="default: all of the checkpoint")
    parser.add_argument("--out", default="runs/seeds", help="folder of the runs")
    parser.add_argument("--fit", nargs=argparse.REMAINDER, default=[], help="further arguments of `fit`, last")
    options = parser.parse_args()
    rows: dict[str, Any] = (
        {"split": options.split} if options.split else {"folds": [int(fold) for fold in options.folds.split(",")]}
    )
    dataset = read_dataset(data_folder())
    texts = dataset.queries["text"].tolist()
    encoder: CachedEncoder | None = None
    figures: dict[str, dict[str, list[float]]] = {}
    for seed in options.seeds:
        out = Path(options.out) / Path(options.config).stem / str(seed)
        if not (out / "router").is_dir() and cli.main(
            ["fit", "--config", str(moved(options.config, out)), "--seed_everything", str(seed), *options.fit]
        ):
            return 1
        router = Router.from_pretrained(out / "router")
        if encoder is None:
            used = router.checkpoint.training
            plain = QueryEncoder.from_pretrained(
                used["model"]["encoder"], router.encoder.max_tokens, layers=router.encoder.layers
            )
            encoder = CachedEncoder(plain, texts, Path("runs/cache"), used["data"]["bf16_embeddings"])
        router.encoder = encoder  # type: ignore[assignment]
        for name in options.pools or router.pools:
            report = margins(evaluate_router(router, dataset, name, **rows))
            report["elsewhere_at_default_dial"] = calls_elsewhere(
                router, dataset, name, rows.get("split"), rows.get("folds")
            )
            for key, value in report.items():
                figures.setdefault(name, {}).setdefault(key, []).append(value)
        if not options.split:
            capability, domain, _ = agreement(router, dataset, rows["folds"])
            for key, share in (("first_capability", capability), ("first_domain", domain)):
                figures.setdefault("annotations", {}).setdefault(key, []).append(float(share or 0))
    summary = {pool: {key: spread(values) for key, values in each.items()} for pool, each in figures.items()}
    print(json.dumps({"config": options.config, "rows": rows, "seeds": options.seeds, "figures": summary}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
