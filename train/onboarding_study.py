"""How good profiles from few answers and from benchmark scores are: `python -m train onboarding`.

Networks are trained without a group of a pool's models, in turn, so that what onboards a model never saw it; beside
them one that was trained with all. Each left-out model is then fitted from many draws of few answers on the training
folds, and judged on the test folds: excess log loss over its trained profile, and the share of what the pool loses
without it that comes back. Writes a Markdown table and a JSON file. Axes: N queries of a pool, M candidates.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from router.backend import as_torch
from router.candidates import features
from router.checkpoint import Checkpoint
from router.dataset import Dataset, data_folder, read_dataset
from router.errors import RouterError, UsageError
from router.evaluation import pool_outcomes, reference_models
from router.onboarding import prior_for
from router.partial_file import write_whole
from router.pools import Pool, read_pool
from router.routing import Router
from train.benchmarks import benchmark_scores
from train.compare import ours
from train.compare.regimes import Rows, rotation_folds
from train.held_out import folds
from train.onboarding_trials import (
    NEIGHBOURS,
    PRECISIONS,
    Subject,
    anchored,
    curve_height,
    linear_head,
    log_loss,
    nearest,
    onboarded,
    sigmoid,
    tuned,
)

SIMPLER = {"knn": nearest, "linear": linear_head}
WAYS = ("onboarded", "anchors", *SIMPLER)
ABSENCE_COUNTS = 0.002  # AIQ that a pool must lose without a model for its recovery to be looked at


def left_out_groups(dataset: Dataset, pools: Sequence[Pool], groups: int, seed: int) -> list[list[str]]:
    """The pools' models, shuffled, in `groups` groups."""
    models = sorted({c.system.model for pool in pools for c in pool.candidates if c.system is not None})
    order = np.random.default_rng(seed).permutation(len(models))
    return [[models[i] for i in order[start::groups]] for start in range(groups)]


def train_without(config: str, models: Sequence[str], dataset: Dataset, rows: Rows, out: Path, cache: str) -> Path:
    """The checkpoint of `config` trained with no outcome of `models`; kept in `out` from an earlier run."""
    return ours.fit(config, 0, dataset, rows, out, json.dumps([config, *sorted(models)]), cache, without=models)


class Study:
    """One pool's models, each left out; see `rows` for what comes of it."""

    def __init__(
        self, dataset: Dataset, pool: Pool, rows: Rows, full: Router, draws: int, counts: Sequence[int]
    ) -> None:
        self.dataset, self.pool, self.full, self.draws, self.counts = dataset, pool, full, draws, counts
        outcomes = pool_outcomes(dataset, pool)
        self.at, self.score, self.realised = outcomes.rows, outcomes.score, outcomes.realised_usd
        self.train, self.tune, self.judged = (
            np.flatnonzero(mask[self.at]) for mask in (rows.train, rows.val, rows.test)
        )
        self.training_rows = np.flatnonzero(rows.train)
        self.best, self.cheapest = reference_models(outcomes.take(rows.train), pool)
        self.input_tokens = torch.from_numpy(dataset.input_tokens[self.at]).float()
        self.texts = dataset.queries["text"].to_numpy()[self.at].tolist()
        embedding = as_torch(full.encoder).encode(self.texts).double().numpy()
        embedding = embedding - embedding[self.train].mean(axis=0)
        self.embedding = embedding / np.sqrt(np.square(embedding[self.train]).sum(axis=1).mean())
        with torch.inference_mode():
            query = full.network.heads(as_torch(full.encoder).encode(self.texts))
            seen = full.candidates(pool).predict(query, self.input_tokens)
        self.quality, self.cost = seen.quality.double().numpy(), seen.cost_usd.double().numpy()

    def subject(self, column: int, reduced: Checkpoint, facts: Any = None, benchmarks: Sequence[str] = ()) -> Subject:
        """The pool's model in `column`, by a network that never saw it."""
        candidate = self.pool.candidates[column]
        assert candidate.system is not None
        like = candidate.system.protocol
        with torch.inference_mode():
            query = reduced.network.heads(as_torch(self.full.encoder).encode(self.texts))
        protocol = reduced.protocols.index(like)
        own = benchmark_scores(self.dataset, self.training_rows, [candidate.system])
        scores = {name: own.scores[name, like][candidate.system.model] for name in benchmarks}
        prior = prior_for(reduced, like, replace(candidate.facts, id=candidate.system.model), scores)
        place = self.dataset.systems.index(candidate.system)
        tokens = self.dataset.output_tokens[self.at, place].astype(np.float64)
        return Subject(
            features(query, protocol, reduced.network.size.columns).double().numpy(),
            self.embedding,
            self.score[:, column],
            np.where(self.dataset.measured[self.at, place], tokens, np.nan),
            query.log_length[:, protocol].double().numpy(),
            prior.row,
            prior.log_tokens,
            self.quality[:, column],
            self.train,
            self.tune,
            self.judged,
        )

    def height(self, column: int | None = None, quality: Any = None, log_tokens: float | None = None,
               subject: Subject | None = None) -> float:  # fmt: skip
        """Mean height of the pool's curve on judged rows: as trained, or with another `quality` (N,) of a column.

        A quality of -inf leaves the model out. Costs of an onboarded model are by its own `log_tokens`.
        """
        q, cost = self.quality.copy(), self.cost.copy()
        if column is not None:
            q[:, column] = -1e12 if quality is None else quality
        if column is not None and subject is not None and log_tokens is not None:
            facts = self.pool.candidates[column].facts
            tokens = np.exp(subject.log_length + log_tokens)
            spent = self.input_tokens.double().numpy() * (facts.input_usd_per_mtok or 0.0)
            cost[:, column] = (spent + tokens * (facts.output_usd_per_mtok or 0.0)) / 1e6
        rows = self.judged
        low, high = (float(self.realised[rows, m].mean()) for m in (self.cheapest, self.best))
        return curve_height(q[rows], cost[rows], self.score[rows], self.realised[rows], low, high)

    def rows(self, reduced_of: dict[str, Checkpoint], seed: int, progress: bool) -> list[dict[str, Any]]:
        """One row per model, way and number of answers: mean excess log loss, and the share of AIQ recovered."""
        systems = [c.system for c in self.pool.candidates]
        subjects = [self.subject(m, reduced_of[s.model]) for m, s in enumerate(systems) if s is not None]
        found = []
        settings: dict[tuple[str, int], float] = {}
        for n in self.counts:
            generator = np.random.default_rng(seed)
            settings["knn", n] = tuned(nearest, NEIGHBOURS, subjects, n, generator)
            settings["linear", n] = tuned(linear_head, PRECISIONS, subjects, n, generator)
        trained = self.height()
        for column, subject in enumerate(tqdm(subjects, desc=self.pool.name, unit="model", disable=not progress)):
            lost = trained - self.height(column)
            fixed = {"pool": self.pool.name, "model": self.pool.ids[column], "lost": lost}
            found += [fixed | row for row in self._answered(column, subject, settings, lost, seed)]
            found += [fixed | row for row in self._unanswered(column, reduced_of[systems[column].model], lost, seed)]  # type: ignore[union-attr]
        return found

    def _answered(
        self, column: int, subject: Subject, settings: dict[tuple[str, int], float], lost: float, seed: int
    ) -> list[dict[str, Any]]:
        """Each way at each number of answers, means over the draws."""
        rows, truth = self.judged, subject.score[self.judged]
        base = log_loss(subject.trained[rows], truth)
        found = []
        for n in self.counts:
            generator = np.random.default_rng([seed, n, column])
            losses = defaultdict(list)
            heights = defaultdict(list)
            for _ in range(self.draws):
                drawn = generator.choice(self.train, n, replace=False)
                for way in WAYS:
                    if way in ("onboarded", "anchors"):
                        chosen = drawn if way == "onboarded" else anchored(subject, n, generator)
                        quality, length = onboarded(subject, chosen)
                        losses[way].append(log_loss(quality[rows], truth) - base)
                        if lost >= ABSENCE_COUNTS:
                            heights[way].append(self.height(column, quality, length, subject))
                    else:
                        seen = SIMPLER[way](subject, drawn, rows, settings[way, n])
                        losses[way].append(log_loss(seen, truth) - base)
            without = self.height(column)
            for way in WAYS:
                share = (np.mean(heights[way]) - without) / lost if heights[way] else None
                found.append({"way": way, "n": n, "excess": float(np.mean(losses[way])), "recovered": share})
        return found

    def _unanswered(self, column: int, reduced: Checkpoint, lost: float, seed: int) -> list[dict[str, Any]]:
        """Profiles from no answer: by price, and by one, two and all benchmarks of the pool's protocol."""
        system = self.pool.candidates[column].system
        assert system is not None
        known = sorted(name for name, protocol in reduced.benchmarks.scores if protocol == system.protocol)
        own = benchmark_scores(self.dataset, self.training_rows, [system]).scores
        known = [name for name in known if system.model in own.get((name, system.protocol), {})]
        some = np.random.default_rng([seed, column]).permutation(known).tolist()
        found = []
        for way, chosen in (
            ("price", []),
            ("1 benchmark", some[:1]),
            ("2 benchmarks", some[:2]),
            ("all benchmarks", known),
        ):
            subject = self.subject(column, reduced, benchmarks=chosen)
            quality = sigmoid(subject.features @ subject.prior.mean)
            rows = self.judged
            excess = log_loss(quality[rows], subject.score[rows]) - log_loss(subject.trained[rows], subject.score[rows])
            share = None
            if lost >= ABSENCE_COUNTS:
                back = self.height(column, quality, subject.prior_log_tokens, subject) - self.height(column)
                share = back / lost
            found.append({"way": way, "n": 0, "excess": excess, "recovered": share})
        return found


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per pool, way and number of answers: means over models, the worst model, and the mean share recovered."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["pool"], row["way"], row["n"]].append(row)
    found = []
    for (pool, way, n), group in groups.items():
        excess = [row["excess"] for row in group]
        shares = [row["recovered"] for row in group if row["recovered"] is not None]
        found.append({
            "pool": pool, "way": way, "n": n, "models": len(group), "excess": float(np.mean(excess)),
            "worst": float(np.max(excess)), "counted": len(shares),
            "recovered": float(np.mean(shares)) if shares else None,
            "least_recovered": float(np.min(shares)) if shares else None,
        })  # fmt: skip
    return found


def as_table(found: Sequence[dict[str, Any]]) -> str:
    """The summary as Markdown."""
    lines = [
        "| pool | profile from | answers | excess log loss, mean · worst | AIQ recovered, mean · least | models |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        back = ""
        if row["recovered"] is not None:
            back = f"{row['recovered']:.0%} · {row['least_recovered']:.0%} (of {row['counted']})"
        loss = f"{row['excess']:+.4f} · {row['worst']:+.4f}"
        lines.append(f"| {row['pool']} | {row['way']} | {row['n']} | {loss} | {back} | {row['models']} |")
    return "\n".join(lines) + "\n"


def main(args: list[str] | None = None) -> int:
    """Write OUT/onboarding.md and OUT/onboarding.json and print the table; 0 when done, 1 on an error of ours."""
    parser = argparse.ArgumentParser(prog="python -m train onboarding", description=__doc__.splitlines()[0])
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
    try:
        if min(*options.answers, options.draws, options.groups) < 1:
            raise UsageError("--answers, --draws and --groups must be at least 1")
        rows = study(options)
    except RouterError as error:
        print(f"train: error: {error}", file=sys.stderr)
        return 1
    found = summary(rows)
    command = "python -m train onboarding " + " ".join(sys.argv[2:] if args is None else args)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    text = f"`{command.strip()}`, {datetime.date.today().isoformat()}, {machine}.\n\n{as_table(found)}"
    options.out.mkdir(parents=True, exist_ok=True)
    write_whole(options.out / "onboarding.json", json.dumps({"summary": found, "models": rows}, indent=1).encode())
    write_whole(options.out / "onboarding.md", text.encode())
    print(text)
    return 0


def study(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train what is missing, then every pool's rows."""
    dataset = read_dataset(data_folder(options.data))
    pools = [read_pool(file, dataset.systems) for file in options.pools]
    train_folds, val_fold, test_folds = rotation_folds(0)
    fold = dataset.queries["fold"].to_numpy()
    train = np.isin(fold, train_folds)
    rows = Rows(train, fold == val_fold, np.isin(fold, options.judge or test_folds), train)
    groups = left_out_groups(dataset, pools, options.groups, options.seed)
    folder = {
        g: train_without(options.config, models, dataset, rows, options.out / f"without-{g}", options.cache)
        for g, models in enumerate(
            tqdm([[], *groups], desc="training", unit="network", disable=not sys.stderr.isatty())
        )
    }
    texts = dataset.queries["text"].tolist()
    full = ours.load(folder[0], texts, options.cache)
    reduced_of = {}
    for g, models in enumerate(groups, 1):
        reduced = ours.load(folder[g], texts, options.cache).checkpoint
        reduced_of.update(dict.fromkeys(models, reduced))
    found = []
    for pool in pools:
        judged = Study(dataset, full.pool(pool.name), rows, full, options.draws, options.answers)
        found += judged.rows(reduced_of, options.seed, sys.stderr.isatty())
    return found
