"""A pool as tensors: the profile rows, prices and lengths of its candidates, ready for one matrix product.

Knows checkpoints' rows and pools' entries; not queries, nor how to choose. Axes: M candidates, S systems, D vector.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from router import scoring
from router.errors import PoolError
from router.network import ProfileTable, QueryVectors
from router.pools import Pool
from router.profiles import ModelFacts, System

PRIORS_AT_ONCE = 1024  # candidates whose weights over all systems are held in one matrix
PRIOR_BANDWIDTH = math.log(2)  # a model at twice the price weighs exp(-1/2) in a price-class prior


@dataclass(frozen=True)
class Prediction:
    """What is expected of B queries on M candidates."""

    quality: Tensor  # (B, M) probability of a good answer
    cost_usd: Tensor  # (B, M) expected cost
    query: QueryVectors
    input_tokens: Tensor  # (B,)


@dataclass(frozen=True)
class Candidates:
    """The M candidates of a pool on the axes of a checkpoint."""

    facts: tuple[ModelFacts, ...]
    is_prior: tuple[bool, ...]
    profile: Tensor  # (M, D), last P columns minus the slopes of difficulty
    bias: Tensor  # (M,)
    log_tokens: Tensor  # (M,)
    protocol: Tensor  # (M,) column of the protocol whose difficulty and lengths apply
    price_in: Tensor  # (M,) USD per million tokens
    price_out: Tensor  # (M,)
    cost_range_usd: float
    unsure: tuple[int, ...] = ()  # (U,) candidates whose profile was fitted from few answers
    spread: Tensor | None = None  # (U, F, R), see `router.onboarded.OnboardedProfile`

    def quality(self, query: QueryVectors, attitude: float = 0.0) -> Tensor:
        """Probability (B, M) of a good answer; `attitude` standard deviations above what an unsure profile says."""
        logits = self.logits(query.vector)
        if attitude and self.spread is not None:
            logits[:, list(self.unsure)] += attitude * self.deviation(query)
        return torch.sigmoid(logits)

    def deviation(self, query: QueryVectors) -> Tensor:
        """Standard deviation (B, U) of the logits of the unsure candidates."""
        if self.spread is None:
            return query.vector.new_zeros(len(query.vector), 0)
        columns = self.spread.shape[1] - 2
        parts = [
            features(query, int(self.protocol[m]), columns) @ factor
            for m, factor in zip(self.unsure, self.spread, strict=True)
        ]
        return torch.stack(parts, dim=1).norm(dim=2)

    def logits(self, vector: Tensor) -> Tensor:
        """Logits (B, M) of query vectors (B, D)."""
        return scoring.logits(vector, self.profile, self.bias)

    def cost(self, query: QueryVectors, input_tokens: Tensor) -> Tensor:
        """Expected cost (B, M) in USD of prompts of (B,) tokens."""
        output_tokens = torch.exp(query.log_length[:, self.protocol] + self.log_tokens)
        return scoring.expected_cost(input_tokens, output_tokens, self.price_in, self.price_out)

    def predict(self, query: QueryVectors, input_tokens: Tensor, attitude: float = 0.0) -> Prediction:
        """Quality and cost (B, M) of prompts of (B,) tokens; `attitude` as in `quality`."""
        return Prediction(self.quality(query, attitude), self.cost(query, input_tokens), query, input_tokens)

    def take(self, rows: Tensor | slice) -> Candidates:
        """The candidates at `rows` (N,), or in a slice, in that order."""
        count = len(self.facts)
        at = range(count)[rows] if isinstance(rows, slice) else rows.tolist()
        parts: dict[str, Any] = {}
        for each in fields(self):
            part = getattr(self, each.name)
            if isinstance(part, Tensor) and each.name != "spread":
                parts[each.name] = part[rows]
            elif isinstance(part, tuple) and each.name != "unsure":
                parts[each.name] = part[rows] if isinstance(rows, slice) else tuple(part[row] for row in at)
        if self.spread is not None:
            place = {m: u for u, m in enumerate(self.unsure)}
            found = [(n, place[m]) for n, m in enumerate(at) if m in place]
            parts["unsure"] = tuple(n for n, _ in found)
            parts["spread"] = self.spread[[u for _, u in found]] if found else None
        return replace(self, **parts)


def features(query: QueryVectors, protocol: int, columns: int) -> Tensor:
    """What multiplies a system's row (weights, slope of difficulty, bias) under a protocol: (B, columns + 2)."""
    difficulty = query.difficulty[:, protocol : protocol + 1]
    return torch.cat([query.vector[:, :columns], -difficulty, torch.ones_like(difficulty)], dim=1)


def gather_candidates(
    pool: Pool,
    table: ProfileTable,
    systems: Sequence[System],
    models: dict[str, ModelFacts],
    spread: Mapping[System, Tensor] | None = None,
) -> Candidates:
    """Rows of `table` for the members of `pool`; entries admitted without a profile get their price class' prior.

    `models` are the checkpoint's facts, whose prices place its systems in price classes; `spread` tells how unsure the
    rows of some systems are (F, R).
    """
    index = {system: row for row, system in enumerate(systems)}
    known = [index[c.system] for c in pool.candidates if c.system is not None]
    home = int(table.protocol[known].mode().values) if known else int(table.protocol.mode().values)
    spread = spread or {}
    rows = torch.tensor([-1 if c.system is None else index[c.system] for c in pool.candidates]).to(table.protocol)
    priors: dict[float, Tensor] = {}  # they hang on the price alone, and large pools repeat prices
    blends: list[tuple[slice, Tensor]] = []  # weights (N, S) of runs of candidates of whom any has no profile
    for start in range(0, len(rows), PRIORS_AT_ONCE):
        run = pool.candidates[start : start + PRIORS_AT_ONCE]
        if any(c.system is None for c in run):
            weights = torch.zeros(len(run), len(systems))
            for row, candidate in enumerate(run):
                price = candidate.facts.output_usd_per_mtok or 0.0
                if candidate.system is not None:
                    weights[row, index[candidate.system]] = 1.0
                    continue
                if price not in priors:
                    priors[price] = _price_class(candidate.facts, table, systems, models, home, spread)
                weights[row] = priors[price]
            blends.append((slice(start, start + len(run)), weights.to(table.bias)))
    protocol = torch.where(rows >= 0, table.protocol[rows.clamp_min(0)], home)

    def of_members(numbers: Tensor) -> Tensor:
        """Of the systems' `numbers` (S, ...) those of every candidate: its system's, or its price class' mean."""
        found = numbers[rows.clamp_min(0)]
        for run, weights in blends:
            found[run] = weights @ numbers
        return found

    facts = tuple(c.facts for c in pool.candidates)
    price_in = torch.tensor([f.input_usd_per_mtok for f in facts]).to(table.bias)
    price_out = torch.tensor([f.output_usd_per_mtok for f in facts]).to(table.bias)
    unsure = {m: spread[c.system] for m, c in enumerate(pool.candidates) if c.system and c.system in spread}
    with torch.no_grad():
        means = of_members(torch.stack([table.mean_score, table.mean_input_tokens, table.mean_output_tokens], dim=1))
        return Candidates(
            facts,
            tuple(c.system is None for c in pool.candidates),
            of_members(table.matrix()),
            of_members(table.bias),
            of_members(table.log_tokens),
            protocol,
            price_in,
            price_out,
            pool.cost_range_usd or _cost_range(means, price_in, price_out),
            tuple(unsure),
            torch.stack(list(unsure.values())).to(table.bias) if unsure else None,
        )


def _price_class(
    facts: ModelFacts,
    table: ProfileTable,
    systems: Sequence[System],
    models: dict[str, ModelFacts],
    protocol: int,
    unsure: Collection[System] = (),
) -> Tensor:
    """Weights (S,), summing to 1, of the systems under `protocol` priced like `facts`: a normal in log output price.

    Those of `unsure` do not count: what is guessed of one model tells nothing of another.
    """
    prices = [models[s.model].output_usd_per_mtok if s.model in models else None for s in systems]
    usable = torch.tensor(
        [
            p is not None and int(table.protocol[i]) == protocol and systems[i] not in unsure
            for i, p in enumerate(prices)
        ]
    )
    if not usable.any():
        raise PoolError(f"{facts.id}: the checkpoint knows no priced system to draw a prior from; train a profile")
    log_price = torch.tensor([math.log(max(p or 0.0, 1e-3)) for p in prices])
    distance = (log_price - math.log(max(facts.output_usd_per_mtok or 0.0, 1e-3))) / PRIOR_BANDWIDTH
    return torch.softmax((-(distance**2) / 2).masked_fill(~usable, -torch.inf), dim=0)


def _cost_range(means: Tensor, price_in: Tensor, price_out: Tensor) -> float:
    """Cost of the best model on average minus that of the cheapest, USD per query: the scale of the dial."""
    cost = (means[:, 1] * price_in + means[:, 2] * price_out) / 1e6
    span = float(cost[means[:, 0].argmax()] - cost.min()) or float(cost.max() - cost.min())
    return span if span > 0 else 1.0  # all cost the same: no dial changes a choice
