"""Validation figures of a network in training: the metrics of `router evaluate`, from collected logits.

Axes: B collected rows, S systems, M members of a pool, P protocols.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from router.evaluation import metrics
from router.evaluation.metrics import Array, Hull, Report
from router.evaluation.pool_report import (
    PoolOutcomes,
    first_label_agreement,
    multilingual_f1,
    pool_outcomes,
    reference_models,
)
from router.network.scoring import expected_cost
from router.network.torch_network import ProfileTable
from router.pools.pool import Pool
from train.data.training_data import TrainingData


class Collected(NamedTuple):
    """Outputs of the network for B rows, in any order; rows may repeat (distributed samplers pad)."""

    row: Tensor  # (B,) of the folder's queries
    logits: Tensor  # (B, S)
    log_length: Tensor  # (B, P)
    capability: Tensor  # (B, C)
    knowledge: Tensor  # (B, K)
    level: Tensor  # (B,)


def unique(collected: Collected) -> Collected:
    """The outputs on the CPU, each row once, in ascending order."""
    rows, first = np.unique(collected.row.cpu().numpy(), return_index=True)
    return Collected(torch.from_numpy(rows), *(part.cpu()[torch.from_numpy(first)] for part in collected[1:]))


def predicted(collected: Collected, table: ProfileTable, pool: Pool, data: TrainingData) -> tuple[Array, Array]:
    """Quality and expected cost in USD, (B, M) each, of a pool's members on the collected rows."""
    columns = torch.tensor([data.systems.index(c.system) for c in pool.candidates if c.system is not None])
    log_tokens, protocol = table.log_tokens.detach().cpu(), table.protocol.cpu()
    output_tokens = torch.exp(collected.log_length[:, protocol[columns]] + log_tokens[columns])
    price_in = torch.tensor([c.facts.input_usd_per_mtok for c in pool.candidates])
    price_out = torch.tensor([c.facts.output_usd_per_mtok for c in pool.candidates])
    cost = expected_cost(data.tensors["input_tokens"][collected.row], output_tokens, price_in, price_out)
    return torch.sigmoid(collected.logits[:, columns]).double().numpy(), cost.double().numpy()


@dataclass(frozen=True)
class Judged:
    """A pool's predictions and outcomes, (B, M) each; two columns are chosen on the training rows."""

    quality: Array
    cost: Array
    score: Array
    realised: Array
    best_single: int
    cheapest: int

    def report(self) -> Report:
        """All figures of docs/method.md section 4."""
        return metrics.evaluate(*vars(self).values())

    def hulls(self) -> tuple[Hull, Hull]:
        """Cost-quality hulls of the router and of the single models."""
        return metrics.hulls(*vars(self).values())


def judge_pools(collected: Collected, table: ProfileTable, data: TrainingData) -> dict[str, Judged]:
    """Predictions and outcomes by pool, of pools with at least two collected queries."""
    collected = unique(collected)
    judged = {}
    for name, pool in data.pools.items():
        outcomes = pool_outcomes(data.dataset, pool)
        outcomes = outcomes.take(np.isin(np.arange(len(data.texts)), collected.row.numpy()))
        if len(outcomes.rows) < 2:
            continue
        best, cheapest = reference_models(train_outcomes(data, pool), pool)
        quality, cost = predicted(collected, table, pool, data)
        at = np.searchsorted(collected.row.numpy(), outcomes.rows)
        judged[name] = Judged(quality[at], cost[at], outcomes.score, outcomes.realised_usd, best, cheapest)
    return judged


def train_outcomes(data: TrainingData, pool: Pool) -> PoolOutcomes:
    """Outcomes of a pool on the training rows."""
    mask = np.zeros(len(data.texts), bool)
    mask[data.train_rows] = True
    return pool_outcomes(data.dataset, pool).take(mask)


def flat_figures(reports: Mapping[str, Report], collected: Collected, data: TrainingData) -> dict[str, float]:
    """Figures for logging: `aiq_margin`, the mean over pools, which chooses checkpoints, then by pool, of labels."""
    figures = {"aiq_margin": float(np.mean([r.aiq - r.aiq_zero for r in reports.values()])) if reports else 0.0}
    for name, report in reports.items():
        figures[f"{name}/aiq_margin"] = report.aiq - report.aiq_zero
        figures[f"{name}/quality_margin"] = report.quality - report.best_single
        figures[f"{name}/ece"] = report.ece
        if report.quality_at_half_cost is not None:
            figures[f"{name}/half_cost_margin"] = report.quality_at_half_cost - report.best_single
        if report.cost_ratio_at_best_single is not None:
            figures[f"{name}/cost_ratio"] = report.cost_ratio_at_best_single
    collected, taxonomy = unique(collected), data.taxonomy
    rows, capability = collected.row.numpy(), collected.capability.double().numpy()
    shares = first_label_agreement(data.dataset, taxonomy, rows, capability, collected.knowledge.double().numpy())
    found = {
        "first_capability": shares[0],
        "first_domain": shares[1],
        "multilingual_f1": multilingual_f1(data.dataset, taxonomy, rows, capability),
        "level_correlation": rank_correlation(collected.level, data.tensors["level"][collected.row]),
    }
    return figures | {name: value for name, value in found.items() if value is not None}


def rank_correlation(predicted: Tensor, annotated: Tensor) -> float | None:
    """Spearman's correlation of (B,) with annotated values (B,), NaN where there is none; None where one is constant.

    >>> round(rank_correlation(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([1.0, 3.0, 2.0])), 6)
    0.5
    """
    known = ~annotated.isnan()
    pair = predicted[known].numpy(), annotated[known].numpy()
    if min(len(np.unique(each)) for each in pair) < 2:
        return None
    return float(spearmanr(*pair).statistic)
