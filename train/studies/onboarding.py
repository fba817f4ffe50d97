"""Onboarding study: quality of profiles from few answers and from benchmark scores, `python -m train onboarding`.

Networks are trained without a group of a pool's models, in turn, so that a model is onboarded by a network that never
saw it; one more network is trained with all. Each left-out model is fitted from many draws of few answers on the
training folds and judged on the test folds by its excess log loss over its trained profile. Writes a Markdown table and
a JSON file. Axes: N queries of a pool, M models, F numbers of a profile, n answers.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from router.arrays import clipped_sigmoid, host
from router.errors import UsageError
from router.evaluation.dataset import Dataset, read_dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import pool_outcomes
from router.files import atomic_write
from router.onboarding.anchors import CONSIDERED, choose_anchors
from router.onboarding.prior import Prior, prior_for
from router.onboarding.profile_fit import ProfilePrior, fit_profile
from router.policy.candidates import features
from router.pools.pool import Pool, read_pool
from router.routing.router import Router
from train.compare import ours
from train.compare.regimes import Rows, rotation_folds
from train.compare.report.markdown import markdown_table
from train.export.benchmarks import benchmark_scores
from train.export.card import measured_by
from train.studies.inputs import folds

Index = NDArray[np.intp]
LEAST = 1e-3  # probabilities are clipped to within this of 0 and 1
DESCRIPTION = "How good profiles from few answers and from benchmark scores are: `python -m train onboarding`."
COLUMNS = "pool|profile from|answers|excess log loss, mean · worst|models".split("|")


def left_out_groups(dataset: Dataset, pools: Sequence[Pool], groups: int, seed: int) -> list[list[str]]:
    """The pools' models, shuffled, in `groups` groups."""
    models = sorted({c.system.model for pool in pools for c in pool.candidates if c.system is not None})
    order = np.random.default_rng(seed).permutation(len(models))
    return [[models[i] for i in order[start::groups]] for start in range(groups)]


def log_loss(quality: Array, score: Array) -> float:
    """Mean cross-entropy of predicted qualities (n,) on scores (n,).

    >>> round(log_loss(np.array([0.5]), np.array([1.0])), 4)
    0.6931
    """
    kept = np.clip(quality, LEAST, 1 - LEAST)
    return float(-(score * np.log(kept) + (1 - score) * np.log(1 - kept)).mean())


def onboarded(known: Array, score: Array, prior: ProfilePrior, rows: Index) -> Array:
    """Quality (N,) of queries of features (N, F) by the profile fitted from the scores (N,) on `rows`."""
    return clipped_sigmoid(known @ fit_profile(known[rows], score[rows], prior).row)


def anchored(known: Array, prior: ProfilePrior, train: Index, n: int, generator: np.random.Generator) -> Index:
    """Rows (n,) to answer, chosen of `train` as `router anchors` does, from some drawn at random."""
    some = generator.choice(train, min(CONSIDERED, len(train)), replace=False)
    return some[choose_anchors(known[some], prior, n, int(generator.integers(2**31)))]


def profiles(
    known: Array, score: Array, train: Index, prior: Callable[[Mapping[str, float]], Prior],
    benchmarks: Mapping[str, float], seed: tuple[int, int], options: argparse.Namespace,
) -> Iterator[tuple[str, int, Array]]:  # fmt: skip
    """Way, number of answers and quality (N,) of each profile of a model, by a network that never saw it.

    Its features (N, F) and the prior are that network's; answers are scores (N,) on `train`, `benchmarks` the model's.
    """
    plain, (first, second) = prior({}).row, seed
    for n in options.answers:
        generator = np.random.default_rng([first, n, second])
        for _ in range(options.draws):
            yield "onboarded", n, onboarded(known, score, plain, generator.choice(train, n, replace=False))
            yield "anchors", n, onboarded(known, score, plain, anchored(known, plain, train, n, generator))
    names = np.random.default_rng(seed).permutation(sorted(benchmarks)).tolist()
    for way, count in {"price": 0, "1 benchmark": 1, "2 benchmarks": 2, "all benchmarks": len(names)}.items():
        chosen = prior({name: benchmarks[name] for name in names[:count]})
        yield way, 0, clipped_sigmoid(known @ chosen.row.mean)


def left_out(
    data: Dataset, pool: Pool, rows: Rows, full: Router, reduced_of: Mapping[str, Router], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """A row per model of the pool, way, number of answers and draw: excess log loss over its trained profile."""
    outcomes = pool_outcomes(data, pool)
    train, judged = (np.flatnonzero(mask[outcomes.rows]) for mask in (rows.train, rows.test))
    # Every network reads the same frozen encoder; here it may be the cache of a comparison.
    embedding = full.encoder.encode(data.queries["text"].to_numpy()[outcomes.rows].tolist())
    query = {each: each.network.query_vectors(embedding) for each in {full, *reduced_of.values()}}
    quality = host(full.candidates(pool).quality(query[full])).astype(np.float64)
    members = tqdm(pool.candidates, desc=pool.name, unit="model", disable=not sys.stderr.isatty())
    for column, candidate in enumerate(members):
        system = candidate.system
        assert system is not None, "a trained pool's members have profiles"
        router, score = reduced_of[system.model], outcomes.score[:, column]
        reduced, protocol = router.checkpoint, system.protocol
        place, size = reduced.protocols.index(protocol), reduced.network.size.columns
        known = host(features(query[router], place, size)).astype(np.float64)
        own = benchmark_scores(data, np.flatnonzero(rows.train), [system]).scores
        scores = {name: own[name, of][system.model] for name, of in reduced.benchmarks.scores if (name, of) in own}
        prior = partial(prior_for, reduced, protocol, replace(candidate.facts, id=system.model))
        trained = log_loss(quality[judged, column], score[judged])
        for way, n, predicted in profiles(known, score, train, prior, scores, (options.seed, column), options):
            excess = log_loss(predicted[judged], score[judged]) - trained
            yield {"pool": pool.name, "model": candidate.facts.id, "way": way, "n": n, "excess": excess}


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over draws and models per pool, way and number of answers, and the worst model."""
    of_models = pd.DataFrame(rows).groupby(["pool", "way", "n", "model"], sort=False)["excess"].mean()
    found = of_models.groupby(level=["pool", "way", "n"], sort=False).agg(excess="mean", worst="max", models="count")
    return found.reset_index().to_dict("records")


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
    table = markdown_table(COLUMNS, [
        (row["pool"], row["way"], str(row["n"]), f"{row['excess']:+.4f} · {row['worst']:+.4f}", str(row["models"]))
        for row in found
    ])  # fmt: skip
    text = f"{measured_by(command.strip())}\n\n{table}\n"
    options.out.mkdir(parents=True, exist_ok=True)
    atomic_write(options.out / "onboarding.json", json.dumps({"summary": found, "models": rows}, indent=1).encode())
    atomic_write(options.out / "onboarding.md", text.encode())
    print(text)
    return 0


def study(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of every pool, after the missing networks are trained."""
    dataset = read_dataset(options.data)
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
    reduced_of = {model: each for each, models in zip(reduced, groups, strict=True) for model in models}
    return [row for pool in pools for row in left_out(dataset, full.pool(pool.name), rows, full, reduced_of, options)]
