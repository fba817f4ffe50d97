"""Leave-one-out onboarding of a pool's models: the worth of each onboarded profile next to the trained one.

Trains nothing: the networks are given. Axes: N queries of the pool, M candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from router.arrays import clipped_sigmoid, host, like
from router.checkpoint.checkpoint import Checkpoint
from router.evaluation.dataset import Dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import pool_outcomes, reference_models
from router.network.vectors import QueryVectors
from router.onboarding.prior import prior_for
from router.policy.candidates import Candidates, features, gather_candidates
from router.pools.models import System
from router.pools.pool import Pool
from router.routing.router import Router
from train.compare.regimes import Rows
from train.export.benchmarks import benchmark_scores
from train.studies.onboarding_trials import (
    NEIGHBOURS,
    PRECISIONS,
    Subject,
    anchored,
    curve_height,
    linear_head,
    log_loss,
    nearest,
    onboarded,
    tuned,
)

SIMPLER = {"knn": nearest, "linear": linear_head}
WAYS = ("onboarded", "anchors", *SIMPLER)
WORTH_COUNTS = 0.002  # AIQ that a model must add to the others for its recovery to count


class LeftOut:
    """One pool's models, each left out in turn; `rows` has the results."""

    def __init__(
        self, dataset: Dataset, pool: Pool, rows: Rows, full: Router, draws: int, counts: Sequence[int]
    ) -> None:
        self.dataset, self.pool, self.draws, self.counts = dataset, pool, draws, counts
        outcomes = pool_outcomes(dataset, pool)
        self.at, self.score, self.realised = outcomes.rows, outcomes.score, outcomes.realised_usd
        self.train, self.tune, self.judged = (
            np.flatnonzero(mask[self.at]) for mask in (rows.train, rows.val, rows.test)
        )
        self.training_rows = np.flatnonzero(rows.train)
        self.best, self.cheapest = reference_models(outcomes.take(rows.train), pool)
        self.input_tokens = dataset.input_tokens[self.at].astype(np.float32)
        # Every network reads the same frozen encoder; here it may be the cache of a comparison.
        self.vectors = host(full.encoder.encode(dataset.queries["text"].to_numpy()[self.at].tolist()))
        self._read: dict[int, QueryVectors] = {}  # by the network's identity
        embedding = self.vectors.astype(np.float64)
        embedding = embedding - embedding[self.train].mean(axis=0)
        self.embedding = embedding / np.sqrt(np.square(embedding[self.train]).sum(axis=1).mean())
        self.quality, self.cost = self._predicted(full.candidates(pool), full.checkpoint)

    def _predicted(self, candidates: Candidates, checkpoint: Checkpoint) -> tuple[Array, Array]:
        """Quality and cost (N, M) of candidates by a checkpoint's network."""
        query = self.query(checkpoint)
        prediction = candidates.predict(query, like(self.input_tokens, query.difficulty))
        return host(prediction.quality).astype(np.float64), host(prediction.cost_usd).astype(np.float64)

    def query(self, checkpoint: Checkpoint) -> QueryVectors:
        """Query vectors of the pool's queries by a checkpoint's network, computed once."""
        if id(checkpoint) not in self._read:
            self._read[id(checkpoint)] = checkpoint.network.query_vectors(self.vectors)
        return self._read[id(checkpoint)]

    def subject(self, column: int, reduced: Checkpoint, benchmarks: Sequence[str] = ()) -> Subject:
        """The pool's model in `column`, as a network that never saw it has it."""
        candidate = self.pool.candidates[column]
        assert candidate.system is not None
        query, reference_protocol = self.query(reduced), candidate.system.protocol
        protocol = reduced.protocols.index(reference_protocol)
        own = benchmark_scores(self.dataset, self.training_rows, [candidate.system])
        scores = {name: own.scores[name, reference_protocol][candidate.system.model] for name in benchmarks}
        prior = prior_for(reduced, reference_protocol, replace(candidate.facts, id=candidate.system.model), scores)
        place = self.dataset.systems.index(candidate.system)
        tokens = self.dataset.output_tokens[self.at, place].astype(np.float64)
        return Subject(
            host(features(query, protocol, reduced.network.size.columns)).astype(np.float64),
            self.embedding,
            self.score[:, column],
            np.where(self.dataset.measured[self.at, place], tokens, np.nan),
            host(query.log_length[:, protocol]).astype(np.float64),
            prior.row,
            prior.log_tokens,
            self.quality[:, column],
            self.train,
            self.tune,
            self.judged,
        )

    def others(self, reduced: Checkpoint) -> tuple[Array, Array]:
        """Quality and cost (N, M) by a network trained without some models, whose columns are NaN."""
        kept = [m for m, c in enumerate(self.pool.candidates) if c.system in reduced.systems]
        pool = Pool(self.pool.name, tuple(self.pool.candidates[m] for m in kept), self.pool.cost_range_usd)
        candidates = gather_candidates(pool, reduced.network.learned, reduced.systems, reduced.models)
        quality, cost = (np.full(self.score.shape, np.nan) for _ in range(2))
        quality[:, kept], cost[:, kept] = self._predicted(candidates, reduced)
        return quality, cost

    def height(self, quality: Array, cost: Array) -> float:
        """Mean height of the curve on judged rows, by predictions (N, M); models with NaN quality are left out."""
        rows = self.judged
        q, c = quality[rows], cost[rows]
        low, high = (float(self.realised[rows, m].mean()) for m in (self.cheapest, self.best))
        absent = np.isnan(q)
        q, c = np.where(absent, -1e12, q), np.where(absent, 0.0, c)
        return curve_height(q, c, self.score[rows], self.realised[rows], low, high)

    def added(self, column: int, base: tuple[Array, Array], quality: Array, cost: Array) -> float:
        """Height that a model with predictions (N,) adds to the curve of those in `base`."""
        with_it = tuple(part.copy() for part in base)
        with_it[0][:, column], with_it[1][:, column] = quality, cost
        without = tuple(part.copy() for part in base)
        without[0][:, column] = np.nan
        return self.height(*with_it) - self.height(*without)

    def cost_of(self, column: int, subject: Subject, log_tokens: float) -> Array:
        """Expected cost (N,) in USD of the model in `column`, at an answer length."""
        facts = self.pool.candidates[column].facts
        spent = self.input_tokens.astype(np.float64) * (facts.input_usd_per_mtok or 0.0)
        return (spent + np.exp(subject.log_length + log_tokens) * (facts.output_usd_per_mtok or 0.0)) / 1e6

    def rows(self, reduced_of: dict[str, Checkpoint], seed: int, progress: bool) -> list[dict[str, Any]]:
        """One row per model, way, number of answers and draw: excess log loss and height added to the curve."""
        systems = [c.system for c in self.pool.candidates]
        subjects = [self.subject(m, reduced_of[s.model]) for m, s in enumerate(systems) if s is not None]
        found = []
        settings: dict[tuple[str, int], float] = {}
        for n in self.counts:
            generator = np.random.default_rng(seed)
            settings["knn", n] = tuned(nearest, NEIGHBOURS, subjects, n, generator)
            settings["linear", n] = tuned(linear_head, PRECISIONS, subjects, n, generator)
        bases = {id(reduced): self.others(reduced) for reduced in reduced_of.values()}
        for column, subject in enumerate(tqdm(subjects, desc=self.pool.name, unit="model", disable=not progress)):
            reduced = reduced_of[self._system(column).model]
            base = bases[id(reduced)]
            own = self.quality[:, column], self.cost[:, column]
            among = tuple(np.where(np.isnan(base[0]), np.nan, part) for part in (self.quality, self.cost))
            worth = self.added(column, (among[0], among[1]), *own)
            fixed = {"pool": self.pool.name, "model": self.pool.ids[column], "worth": worth}
            for way, n, quality, log_tokens in self._profiles(column, subject, reduced, settings, seed):
                rows, truth = self.judged, subject.score[self.judged]
                excess = log_loss(quality[rows], truth) - log_loss(subject.trained[rows], truth)
                added = None
                if worth >= WORTH_COUNTS and log_tokens is not None:
                    added = self.added(column, base, quality, self.cost_of(column, subject, log_tokens))
                found.append(fixed | {"way": way, "n": n, "excess": excess, "added": added})
        return found

    def _profiles(
        self,
        column: int,
        subject: Subject,
        reduced: Checkpoint,
        settings: dict[tuple[str, int], float],
        seed: int,
    ) -> Iterator[tuple[str, int, Array, float | None]]:
        """Way, number of answers, quality (N,) and log of the answer length of each profile.

        The simpler ways have no lengths, and quality on judged rows alone.
        """
        for n in self.counts:
            generator = np.random.default_rng([seed, n, column])
            for _ in range(self.draws):
                drawn = generator.choice(self.train, n, replace=False)
                yield "onboarded", n, *onboarded(subject, drawn)
                yield "anchors", n, *onboarded(subject, anchored(subject, n, generator))
                for way, predict in SIMPLER.items():
                    quality = np.full(len(self.at), np.nan)
                    quality[self.judged] = predict(subject, drawn, self.judged, settings[way, n])
                    yield way, n, quality, None
        own = benchmark_scores(self.dataset, self.training_rows, [self._system(column)]).scores
        known = sorted(name for name, protocol in reduced.benchmarks.scores if (name, protocol) in own)
        some = np.random.default_rng([seed, column]).permutation(known).tolist()
        chosen = {"price": [], "1 benchmark": some[:1], "2 benchmarks": some[:2], "all benchmarks": known}
        for way, names in chosen.items():
            scored = self.subject(column, reduced, names)
            yield way, 0, clipped_sigmoid(scored.features @ scored.prior.mean), scored.prior_log_tokens

    def _system(self, column: int) -> System:
        system = self.pool.candidates[column].system
        assert system is not None, "a trained pool's members have profiles"
        return system
