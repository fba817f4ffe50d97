"""Training of our own router for a comparison, on one split, in a separate process.

A split is a part of a regime. The process reads a view of the data folder that holds no outcome, annotation or fold of
a hidden row. Only the texts stay, all in their order, so that every view shares one cache of embeddings.
Axes: N queries of the folder, B predicted queries.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from torch import Tensor

from router.encoding.torch_encoder import DEFAULT_ENCODER, QueryEncoder
from router.errors import UsageError
from router.evaluation.dataset import Dataset
from router.evaluation.pool_report import pool_outcomes
from router.options import CHARS_PER_TOKEN
from router.pools.pool import read_pool
from router.routing.router import Router
from train.compare.regimes import Mask, Rows
from train.compare.settings import Tuning
from train.data.embedding_cache import cached_embeddings
from train.data_folders.data_folder import PRICES
from train.export.average import average

TRAIN_FOLD, VAL_FOLD, UNSEEN_FOLD = 0, 7, 9  # of a view


class CachedEncoder:
    """Stand-in for a router's encoder that looks embeddings up by text."""

    def __init__(self, encoder: QueryEncoder, texts: list[str], cache: Path, bf16: bool = False) -> None:
        self.embeddings = cached_embeddings(encoder, texts, cache, bf16)
        self.row_of = {text: row for row, text in enumerate(texts)}

    def encode(self, texts: list[str], batch_size: int = 0) -> Tensor:
        """Embeddings (B, E) of texts that were given at the start."""
        return self.embeddings[[self.row_of[text] for text in texts]]


def read_config(config: str | Path) -> dict[str, Any]:
    """A training configuration as plain values; UsageError for any other file."""
    try:
        settings = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{config} is no training configuration: {error}") from error
    if not isinstance(settings, dict) or not all(
        isinstance(settings.get(k), dict) for k in ("model", "data", "trainer")
    ):
        raise UsageError(f"{config} is no training configuration: it needs the sections model, data and trainer")
    return settings


def is_frozen(config: Mapping[str, Any]) -> bool:
    """Whether a configuration trains on embeddings that can be computed once."""
    return bool(config["model"].get("freeze_encoder", True))


def cached_encoder(config: Mapping[str, Any], texts: list[str], cache: str) -> CachedEncoder:
    """Cached embeddings of `texts` by the encoder of a frozen configuration, or of a checkpoint's `training`."""
    model = config["model"]
    encoder = QueryEncoder.from_pretrained(
        model.get("encoder", DEFAULT_ENCODER),
        model.get("max_tokens", 256),
        layers=model.get("layers", ()),
        form=model.get("form", False),
    )
    return CachedEncoder(encoder, texts, Path(cache), config["data"].get("bf16_embeddings", False))


def moved(config: str | Path, out: Path) -> Path:
    """A copy of the configuration that writes under `out` alone: checkpoints/ and router/, no log of the run."""
    out.mkdir(parents=True, exist_ok=True)
    settings = read_config(config)
    settings["trainer"] |= {"logger": False, "default_root_dir": str(out)}
    for callback in settings["trainer"].get("callbacks") or []:
        if "dirpath" in callback.get("init_args", {}):
            callback["init_args"]["dirpath"] = str(out / "checkpoints")
    settings["export"] = {**settings.get("export", {}), "folder": str(out / "router")}
    copy = out / "config.yaml"
    copy.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return copy


def write_view(dataset: Dataset, rows: Rows, folder: Path, without: Collection[str] = ()) -> None:
    """Write a data folder whose fold 0 trains and fold 7 validates; of other rows it holds only the text.

    It leaves out the models in `without`.
    """
    queries = dataset.queries.copy()
    queries["fold"] = np.select([rows.train, rows.val], [TRAIN_FOLD, VAL_FOLD], UNSEEN_FOLD).astype(np.int8)
    queries["split"] = np.select([rows.train, rows.val], ["train", "val"], "test")
    queries["ood_twin"] = False  # hidden rows are out already
    queries.to_parquet(folder / "queries.parquet", index=False)
    seen = rows.train | rows.val
    kept = np.array([system.model not in without for system in dataset.systems], bool)
    _outcomes(dataset, seen[:, None] & kept).to_parquet(folder / "outcomes.parquet", index=False)
    facts = [(m.id, m.input_usd_per_mtok, m.output_usd_per_mtok) for m in dataset.models.values()]
    pd.DataFrame(facts, columns=["model", *PRICES]).to_csv(folder / "models.csv", index=False)
    ids = set(queries["query_id"][seen])
    with (folder / "annotations.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(asdict(note)) + "\n" for note in dataset.annotations if note.query_id in ids)


def _outcomes(dataset: Dataset, kept: Mask) -> pd.DataFrame:
    """Rows of outcomes.parquet for the outcomes in a mask (N, S)."""
    row, column = np.nonzero(kept & ~np.isnan(dataset.score))
    systems = np.array([(system.model, system.protocol) for system in dataset.systems], object).reshape(-1, 2)
    cost = {} if dataset.cost_usd is None else {"cost_usd": dataset.cost_usd[row, column]}
    return pd.DataFrame(
        {
            "query_id": dataset.queries["query_id"].to_numpy(object)[row],
            "model": systems[column, 0],
            "protocol": systems[column, 1],
            "score": dataset.score[row, column],
            "output_chars": dataset.output_tokens[row, column] * CHARS_PER_TOKEN,
            "output_chars_basis": np.where(dataset.measured[row, column], "measured", "other"),
            **cost,
        }
    )


def reduced_pools(files: Sequence[str], without: Collection[str], folder: Path) -> list[str]:
    """Copies of pool files without the models in `without`."""
    copies = []
    for file in files:
        pool = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        pool["models"] = [each for each in pool["models"] if each.get("profile", each["id"]) not in without]
        copy = folder / Path(file).name
        copy.write_text(yaml.safe_dump(pool), encoding="utf-8")
        copies.append(str(copy))
    return copies


def usable_pools(files: Sequence[str], dataset: Dataset, rows: Rows) -> list[str]:
    """The pool files of which some training row has a score of every member; UsageError where none is left."""
    found = [file for file in files
             if len(pool_outcomes(dataset, read_pool(file, dataset.systems)).take(rows.train).rows)]  # fmt: skip
    if files and not found:
        raise UsageError(
            f"none of {', '.join(files)} has a training row with a score of every member; name other pools"
        )
    return found


def fit(
    config: str,
    seed: int,
    dataset: Dataset,
    rows: Rows,
    run: Path,
    key: str,
    cache: str,
    without: Collection[str] = (),
    tuning: Tuning | None = None,
) -> Path:
    """The checkpoint folder of a configuration trained on `rows` with a seed, in `run`; reused if made under `key`.

    Models in `without` are left out of its data and its pools, and pools without training rows of its pools. With
    `tuning`, its encoder is fine-tuned first, on the same rows with the same seed. A killed training goes on from its
    last checkpoint. Raises UsageError with the end of the log where training fails.
    """
    marker, router = run / "key", run / "router"
    if not (marker.is_file() and marker.read_text() == key):
        shutil.rmtree(run, ignore_errors=True)
    elif router.is_dir():
        return router
    copy = moved(config, run)
    marker.write_text(key)
    encoder = {}
    if tuning:
        tuned = fit(tuning.config, seed, dataset, rows, run / "tuning", key, cache, without) / "encoder"
        encoder["model.encoder"] = str(_averaged(tuning, tuned, run / "encoder"))
    with tempfile.TemporaryDirectory(dir=run, prefix="data-") as view:
        write_view(dataset, rows, Path(view), without)
        changes: dict[str, Any] = {
            "seed_everything": seed,
            "data.folder": view,
            "data.planted_queries": "null",
            "data.train_folds": f"[{TRAIN_FOLD}]",
            "data.val_folds": f"[{VAL_FOLD}]",
            "data.ood_benchmarks": "[]",
            "data.cache": cache,
            "trainer.enable_progress_bar": "false",
            **encoder,
        }
        if given := read_config(config)["data"].get("pools"):
            pools = reduced_pools(given, without, Path(view)) if without else given
            changes["data.pools"] = json.dumps(usable_pools(pools, dataset, rows))
        if (run / "checkpoints" / "last.ckpt").is_file():
            changes["ckpt_path"] = "last"
        _train(["fit", "--config", str(copy), *(part for k, v in changes.items() for part in (f"--{k}", str(v)))], run)
    return router


def _averaged(tuning: Tuning, tuned: Path, folder: Path) -> Path:
    """`folder`, into which the encoder is saved that lies `tuning.share` of the way from the start to `tuned`."""
    start = QueryEncoder.from_pretrained(read_config(tuning.config)["model"].get("encoder", DEFAULT_ENCODER))
    average(start, QueryEncoder.from_pretrained(tuned), tuning.share).save_pretrained(folder)
    return folder


def _train(arguments: list[str], run: Path) -> None:
    """Run `python -m train` with its output in `run`/fit.log."""
    log = run / "fit.log"
    ours = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "train", *arguments]
    with log.open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": ours})
    if done.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise UsageError(f"training of {run} failed with exit status {done.returncode}, see {log}: {''.join(last)}")


def load(checkpoint: Path, texts: list[str], cache: str) -> Router:
    """The router in a checkpoint folder; with a frozen encoder it looks the embeddings of `texts` up in the cache."""
    router = Router.from_pretrained(checkpoint, backend="torch")
    if is_frozen(router.checkpoint.training):
        router.pipeline.encoder = cached_encoder(router.checkpoint.training, texts, cache)  # type: ignore[assignment]
    return router
