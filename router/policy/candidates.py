"""Candidates: a pool as arrays of profile rows, prices and lengths, ready for one matrix product.

Knows neither queries nor how a candidate is chosen. Axes: B queries, M candidates, S systems, D vector, U candidates
with uncertain profiles.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, concat, host, like, namespace, sigmoid
from router.errors import PoolError
from router.network import scoring
from router.network.vectors import LearnedProfiles, QueryVectors
from router.pools.models import ModelFacts, System, context_windows
from router.pools.pool import Pool

ARRAYS = ("profile", "bias", "log_tokens", "protocol", "price_in", "price_out")  # of `Candidates`, (M, ...) each
PRIOR_BANDWIDTH = math.log(2)  # a model at twice the price weighs exp(-1/2) in a price-class prior


@dataclass(frozen=True)
class Prediction:
    """Predicted quality and cost of M candidates for B queries."""

    quality: Array  # (B, M) probability of a good answer
    cost_usd: Array  # (B, M) expected cost
    query: QueryVectors
    input_tokens: Array  # (B,)


@dataclass(frozen=True)
class Candidates:
    """The M candidates of a pool on the axes of a checkpoint."""

    facts: tuple[ModelFacts, ...]
    is_prior: tuple[bool, ...]
    profile: Array  # (M, D), last P columns minus the slopes of difficulty
    bias: Array  # (M,)
    log_tokens: Array  # (M,)
    protocol: Array  # (M,) column of the protocol whose difficulty and lengths apply
    price_in: Array  # (M,) USD per million tokens
    price_out: Array  # (M,)
    cost_range_usd: float
    unsure: tuple[int, ...] = ()  # (U,) candidates whose profile was fitted from few answers
    factor_of: tuple[int, ...] = ()  # (U,) which row of `covariance_factor` is theirs: several may share a profile
    covariance_factor: Array | None = None  # (Q, F, R), see `AddedProfile`

    @cached_property
    def windows(self) -> NDArray[np.float64]:
        """Context windows (M,), see `router.pools.models.context_windows`."""
        return context_windows(self.facts)

    def quality(self, query: QueryVectors, attitude: float = 0.0) -> Array:
        """Probability (B, M) of a good answer; `attitude` standard deviations above what an unsure profile says."""
        logits = self.logits(query.vector)
        if attitude and self.covariance_factor is not None:
            logits[:, list(self.unsure)] += attitude * self.deviation(query)
        return sigmoid(logits)

    def deviation(self, query: QueryVectors) -> Array:
        """Standard deviation (B, U) of the logits of the unsure candidates."""
        xp, vector = namespace(query.difficulty), query.vector
        if self.covariance_factor is None:
            return vector[:, :0]
        columns = self.covariance_factor.shape[1] - 2
        owner = dict(zip(self.factor_of, self.unsure, strict=True))  # any of those that share a profile
        parts = {
            row: features(query, int(self.protocol[m]), columns, vector) @ self.covariance_factor[row]
            for row, m in owner.items()
        }
        deviation = {row: xp.linalg.vector_norm(part, axis=1) for row, part in parts.items()}
        return xp.stack([deviation[row] for row in self.factor_of], axis=1)

    def logits(self, vector: Array) -> Array:
        """Logits (B, M) of query vectors (B, D)."""
        return scoring.logits(vector, self.profile, self.bias)

    def cost(self, query: QueryVectors, input_tokens: Array) -> Array:
        """Expected cost (B, M) in USD of prompts of (B,) tokens."""
        output_tokens = namespace(self.log_tokens).exp(query.log_length[:, self.protocol] + self.log_tokens)
        return scoring.expected_cost(input_tokens, output_tokens, self.price_in, self.price_out)

    def predict(self, query: QueryVectors, input_tokens: Array, attitude: float = 0.0) -> Prediction:
        """Quality and cost (B, M) of prompts of (B,) tokens; `attitude` as in `quality`."""
        return Prediction(self.quality(query, attitude), self.cost(query, input_tokens), query, input_tokens)

    def take(self, rows: NDArray[np.intp] | slice) -> Candidates:
        """The candidates at `rows` (N,), or in a slice, in that order."""
        count = len(self.facts)
        at = range(count)[rows] if isinstance(rows, slice) else rows.tolist()
        mine = rows if isinstance(rows, slice) else like(rows, self.protocol)
        parts: dict[str, Any] = {name: getattr(self, name)[mine] for name in ARRAYS}
        for name in ("facts", "is_prior"):
            part = getattr(self, name)
            parts[name] = part[rows] if isinstance(rows, slice) else tuple(part[row] for row in at)
        if self.covariance_factor is not None:
            place = dict(zip(self.unsure, self.factor_of, strict=True))
            found = [(n, place[m]) for n, m in enumerate(at) if m in place]
            parts["unsure"], parts["factor_of"] = tuple(n for n, _ in found), tuple(row for _, row in found)
            parts["covariance_factor"] = self.covariance_factor if found else None
        return replace(self, **parts)


def features(query: QueryVectors, protocol: int, columns: int, vector: Array | None = None) -> Array:
    """Features (B, columns + 2) of queries that multiply a system's row (weights, slope of difficulty, bias).

    `vector` is the query vector, if it was computed before.
    """
    difficulty = query.difficulty[:, protocol : protocol + 1]
    known = query.vector if vector is None else vector
    return concat([known[:, :columns], -difficulty, namespace(difficulty).ones_like(difficulty)], axis=1)


def gather_candidates(
    pool: Pool,
    table: LearnedProfiles,
    systems: Sequence[System],
    models: dict[str, ModelFacts],
    covariance_factors: Mapping[System, NDArray[np.float32]] | None = None,
) -> Candidates:
    """Rows of `table` for the members of `pool`; entries admitted without a profile get their price class' prior.

    `models` are the checkpoint's facts, whose prices place its systems in price classes. `covariance_factors` (F, R)
    are those of the systems whose rows were fitted from few answers.
    """
    index = {system: row for row, system in enumerate(systems)}
    protocols = host(table.protocol)
    known = [index[c.system] for c in pool.candidates if c.system is not None]
    home = int(np.bincount(protocols[known] if known else protocols).argmax())
    covariance_factors = covariance_factors or {}
    rows = np.array([-1 if c.system is None else index[c.system] for c in pool.candidates])
    without: dict[float, list[int]] = {}  # candidates without a profile by price, on which alone their prior hangs
    for row, candidate in enumerate(pool.candidates):
        if candidate.system is None:
            without.setdefault(candidate.facts.output_usd_per_mtok or 0.0, []).append(row)
    priors: list[tuple[Array, Array]] = []  # rows of candidates, and the weights (S,) of all systems in their prior
    for same in without.values():
        weights = _price_class(pool.candidates[same[0]].facts, protocols, systems, models, home, covariance_factors)
        priors.append((like(same, table.protocol), like(weights, table.bias)))
    nearest = like(rows.clip(min=0), table.protocol)

    def of_members(numbers: Array) -> Array:
        """Each candidate's part of the systems' `numbers` (S, ...): its system's, or the mean of its price class."""
        found = numbers[nearest]
        for same, weights in priors:
            found[same] = weights @ numbers
        return found

    facts = tuple(c.facts for c in pool.candidates)
    price_in = like([f.input_usd_per_mtok for f in facts], table.bias)
    price_out = like([f.output_usd_per_mtok for f in facts], table.bias)
    unsure = {m: c.system for m, c in enumerate(pool.candidates) if c.system and c.system in covariance_factors}
    unsure_systems = list(dict.fromkeys(unsure.values()))
    row_of = {system: row for row, system in enumerate(unsure_systems)}
    xp = namespace(table.bias)
    means = of_members(xp.stack([table.mean_score, table.mean_input_tokens, table.mean_output_tokens], axis=1))
    return Candidates(
        facts,
        tuple(c.system is None for c in pool.candidates),
        of_members(table.matrix()),
        of_members(table.bias),
        of_members(table.log_tokens),
        like(np.where(rows >= 0, protocols[rows.clip(min=0)], home), table.protocol),
        price_in,
        price_out,
        pool.cost_range_usd or _cost_range(host(means), host(price_in), host(price_out), unsure),
        tuple(unsure),
        tuple(row_of[system] for system in unsure.values()),
        like(np.stack([covariance_factors[system] for system in unsure_systems]), table.bias) if unsure else None,
    )


def _price_class(
    facts: ModelFacts,
    protocols: NDArray[np.integer[Any]],
    systems: Sequence[System],
    models: dict[str, ModelFacts],
    protocol: int,
    unsure: Collection[System] = (),
) -> NDArray[np.float64]:
    """Weights (S,), summing to 1, of the systems under `protocol` priced like `facts`: a normal in log output price.

    `protocols` (S,) are those of all systems. Systems in `unsure` do not count: a guess about one model is no evidence
    about another.
    """
    prices = [models[s.model].output_usd_per_mtok if s.model in models else None for s in systems]
    usable = np.array([price is not None for price in prices]) & (protocols == protocol)
    usable &= np.array([system not in unsure for system in systems])
    if not usable.any():
        raise PoolError(f"{facts.id}: the checkpoint knows no priced system to draw a prior from; train a profile")
    log_price = np.array([math.log(max(p or 0.0, 1e-3)) for p in prices])
    distance = (log_price - math.log(max(facts.output_usd_per_mtok or 0.0, 1e-3))) / PRIOR_BANDWIDTH
    closeness = np.where(usable, np.exp(np.min(distance[usable] ** 2) / 2 - distance**2 / 2), 0.0)
    share: NDArray[np.float64] = closeness / closeness.sum()
    return share


def _cost_range(means: NDArray[Any], price_in: NDArray[Any], price_out: NDArray[Any], unsure: Collection[int]) -> float:
    """Cost of the best model on average minus that of the cheapest, USD per query: the scale of the dial.

    `means` (M, 3) are score and tokens. The best is none of the `unsure` ones, whose few answers may have been easy,
    unless all are.
    """
    cost, score = (means[:, 1] * price_in + means[:, 2] * price_out) / 1e6, means[:, 0].copy()
    if len(unsure) < len(means):
        score[list(unsure)] = -1.0
    span = float(cost[score.argmax()] - cost.min()) or float(cost.max() - cost.min())
    return span if span > 0 else 1.0  # all cost the same: no dial changes a choice
