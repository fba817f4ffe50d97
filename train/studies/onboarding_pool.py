"""Leave-one-out onboarding of a pool's models: the worth of each onboarded profile next to the trained one.

Trains nothing: the networks are given. Axes: N queries of the pool, M candidates, F numbers of a profile, n answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from router.arrays import clipped_sigmoid, host, like
from router.checkpoint.checkpoint import Checkpoint
from router.evaluation import metrics
from router.evaluation.dataset import Dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import pool_outcomes, reference_models
from router.network.vectors import QueryVectors
from router.onboarding.anchors import CONSIDERED, choose_anchors
from router.onboarding.prior import prior_for
from router.onboarding.profile_fit import ProfilePrior, fit_length, fit_profile
from router.policy.candidates import Candidates, features, gather_candidates
from router.pools.models import System
from router.pools.pool import Pool
from router.routing.router import Router
from train.compare.regimes import Rows
from train.export.benchmarks import benchmark_scores

Index = NDArray[np.intp]
WAYS = ("onboarded", "anchors")  # to choose the answers: at random, as `router anchors` does
WORTH_COUNTS = 0.002  # AIQ that a model must add to the others for its recovery to count
LEAST = 1e-3  # probabilities are clipped to within this of 0 and 1


@dataclass(frozen=True, eq=False)
class Subject:
    """A model that is left out and onboarded, with the queries that it is judged on."""

    features: Array  # (N, F) of a network that never saw the model
    score: Array  # (N,) its own
    tokens: Array  # (N,) of its answers, NaN where not measured
    log_length: Array  # (N,) the queries' factor under its protocol
    prior: ProfilePrior
    prior_log_tokens: float
    train: Index  # rows that answers are drawn from


def log_loss(quality: Array, score: Array) -> float:
    """Mean cross-entropy of predicted qualities (n,) on scores (n,).

    >>> round(log_loss(np.array([0.5]), np.array([1.0])), 4)
    0.6931
    """
    kept = np.clip(quality, LEAST, 1 - LEAST)
    return float(-(score * np.log(kept) + (1 - score) * np.log(1 - kept)).mean())


def onboarded(subject: Subject, rows: Index) -> tuple[Array, float]:
    """Quality (N,) by the profile fitted from the answers on `rows`, and the log of its answer length."""
    fitted = fit_profile(subject.features[rows], subject.score[rows], subject.prior)
    length = fit_length(subject.log_length[rows], subject.tokens[rows], subject.prior_log_tokens)
    return clipped_sigmoid(subject.features @ fitted.row), length


def anchored(subject: Subject, n: int, generator: np.random.Generator) -> Index:
    """Rows (n,) to answer, chosen as `router anchors` does, from some drawn at random."""
    some = generator.choice(subject.train, min(CONSIDERED, len(subject.train)), replace=False)
    return some[choose_anchors(subject.features[some], subject.prior, n, int(generator.integers(2**31)))]


def curve_height(quality: Array, cost: Array, score: Array, realised: Array, low: float, high: float) -> float:
    """Mean height of a router's hull between two costs, of predictions and outcomes (B, M).

    The hull has the router's own points alone: a pool without its cheapest model must not get it back.
    """
    points_cost, points_score, _ = metrics.policy_points(quality, cost, score, realised, high - low)
    return metrics.upper_hull(points_cost, points_score).mean_height(low, high)


class LeftOut:
    """One pool's models, each left out in turn; `rows` has the results."""

    def __init__(
        self, dataset: Dataset, pool: Pool, rows: Rows, full: Router, draws: int, counts: Sequence[int]
    ) -> None:
        self.dataset, self.pool, self.draws, self.counts = dataset, pool, draws, counts
        outcomes = pool_outcomes(dataset, pool)
        self.at, self.score, self.realised = outcomes.rows, outcomes.score, outcomes.realised_usd
        self.train, self.judged = (np.flatnonzero(mask[self.at]) for mask in (rows.train, rows.test))
        self.training_rows = np.flatnonzero(rows.train)
        self.best, self.cheapest = reference_models(outcomes.take(rows.train), pool)
        self.input_tokens = dataset.input_tokens[self.at].astype(np.float32)
        # Every network reads the same frozen encoder; here it may be the cache of a comparison.
        self.vectors = host(full.encoder.encode(dataset.queries["text"].to_numpy()[self.at].tolist()))
        self._read: dict[int, QueryVectors] = {}  # by the network's identity
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
            self.score[:, column],
            np.where(self.dataset.measured[self.at, place], tokens, np.nan),
            host(query.log_length[:, protocol]).astype(np.float64),
            prior.row,
            prior.log_tokens,
            self.train,
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
        q, c = base
        own = np.arange(q.shape[1]) == column
        with_it = self.height(np.where(own, quality[:, None], q), np.where(own, cost[:, None], c))
        return with_it - self.height(np.where(own, np.nan, q), c)

    def cost_of(self, column: int, subject: Subject, log_tokens: float) -> Array:
        """Expected cost (N,) in USD of the model in `column`, at an answer length."""
        facts = self.pool.candidates[column].facts
        spent = self.input_tokens.astype(np.float64) * (facts.input_usd_per_mtok or 0.0)
        return (spent + np.exp(subject.log_length + log_tokens) * (facts.output_usd_per_mtok or 0.0)) / 1e6

    def rows(self, reduced_of: dict[str, Checkpoint], seed: int, progress: bool) -> list[dict[str, Any]]:
        """One row per model, way, number of answers and draw: excess log loss and height added to the curve."""
        found, bases = [], {id(reduced): self.others(reduced) for reduced in reduced_of.values()}
        for column in tqdm(range(len(self.pool.ids)), desc=self.pool.name, unit="model", disable=not progress):
            reduced = reduced_of[self._system(column).model]
            subject, base = self.subject(column, reduced), bases[id(reduced)]
            own = self.quality[:, column], self.cost[:, column]
            absent = np.isnan(base[0])
            worth = self.added(column, (np.where(absent, np.nan, self.quality), self.cost), *own)
            truth = subject.score[self.judged]
            trained = log_loss(own[0][self.judged], truth)
            for way, n, quality, log_tokens in self._profiles(column, subject, reduced, seed):
                added = None
                if worth >= WORTH_COUNTS:
                    added = self.added(column, base, quality, self.cost_of(column, subject, log_tokens))
                excess = log_loss(quality[self.judged], truth) - trained
                row = {"pool": self.pool.name, "model": self.pool.ids[column], "worth": worth, "way": way, "n": n}
                found.append(row | {"excess": excess, "added": added})
        return found

    def _profiles(
        self, column: int, subject: Subject, reduced: Checkpoint, seed: int
    ) -> Iterator[tuple[str, int, Array, float]]:
        """Way, number of answers, quality (N,) and log of the answer length of each profile."""
        for n in self.counts:
            generator = np.random.default_rng([seed, n, column])
            for _ in range(self.draws):
                yield "onboarded", n, *onboarded(subject, generator.choice(self.train, n, replace=False))
                yield "anchors", n, *onboarded(subject, anchored(subject, n, generator))
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
