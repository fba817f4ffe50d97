"""A pool as tensors: the profile rows, prices and lengths of its candidates, ready for one matrix product.

Knows checkpoints' rows and pools' entries; not queries, nor how to choose. Axes: M candidates, S systems, D vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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

    def quality(self, query: QueryVectors) -> Tensor:
        """Probability (B, M) of a good answer."""
        return torch.sigmoid(self.logits(query.vector))

    def logits(self, vector: Tensor) -> Tensor:
        """Logits (B, M) of query vectors (B, D)."""
        return scoring.logits(vector, self.profile, self.bias)

    def cost(self, query: QueryVectors, input_tokens: Tensor) -> Tensor:
        """Expected cost (B, M) in USD of prompts of (B,) tokens."""
        output_tokens = torch.exp(query.log_length[:, self.protocol] + self.log_tokens)
        return scoring.expected_cost(input_tokens, output_tokens, self.price_in, self.price_out)

    def predict(self, query: QueryVectors, input_tokens: Tensor) -> Prediction:
        """Quality and cost (B, M) of prompts of (B,) tokens."""
        return Prediction(self.quality(query), self.cost(query, input_tokens), query, input_tokens)

    def take(self, rows: Tensor | slice) -> Candidates:
        """The candidates at `rows` (N,), or in a slice, in that order."""
        at = None if isinstance(rows, slice) else rows.tolist()
        parts: dict[str, Any] = {}
        for each in fields(self):
            part = getattr(self, each.name)
            if isinstance(part, Tensor):
                parts[each.name] = part[rows]
            elif isinstance(part, tuple):
                parts[each.name] = part[rows] if at is None else tuple(part[row] for row in at)
        return replace(self, **parts)


def gather_candidates(
    pool: Pool, table: ProfileTable, systems: Sequence[System], models: dict[str, ModelFacts]
) -> Candidates:
    """Rows of `table` for the members of `pool`; entries admitted without a profile get their price class' prior.

    `models` are the checkpoint's facts, whose prices place its systems in price classes.
    """
    index = {system: row for row, system in enumerate(systems)}
    known = [index[c.system] for c in pool.candidates if c.system is not None]
    home = int(table.protocol[known].mode().values) if known else int(table.protocol.mode().values)
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
                    priors[price] = _price_class(candidate.facts, table, systems, models, home)
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
        )


def _price_class(
    facts: ModelFacts, table: ProfileTable, systems: Sequence[System], models: dict[str, ModelFacts], protocol: int
) -> Tensor:
    """Weights (S,), summing to 1, of the systems under `protocol` priced like `facts`: a normal in log output price."""
    prices = [models[s.model].output_usd_per_mtok if s.model in models else None for s in systems]
    usable = torch.tensor([p is not None and int(table.protocol[i]) == protocol for i, p in enumerate(prices)])
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
