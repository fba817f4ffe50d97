"""Strength of systems, and what a level of difficulty costs: what is known far from all queries with answers.

A two-parameter logistic model (Birnbaum 1968) of benchmarks, with the level that the network reads in a query:

    logit P(system s answers query q of benchmark b) = a_b strength_s + d_b - cost_p (level_q - MIDDLE) + e_bs

The deviations e_bs make a benchmark with many queries count little more than one with few. Published scores are
benchmarks whose queries are not known. Everything has a normal prior; the fit is its mode.
Axes: N rows, S systems, P protocols, G benchmarks, R published scores.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from router.network.vectors import MIDDLE
from train.data.published_scores import PublishedScores

USUAL_COST, COST_SPREAD = 1.0, 0.5  # logits a level, before any answer
SPREAD = 0.5  # of e_bs
DISCRIMINATION_SPREAD = 0.4  # of log a_b
SHIFT_SPREAD, PUBLISHED_SHIFT_SPREAD = 1.0, 3.0  # of d_b
PUBLISHED_ANSWERS = 50.0  # that a published score counts as
STEPS = 120  # of L-BFGS
CLIP = 0.01  # published scores are read from here to 1 minus it


@dataclass(frozen=True)
class Strength:
    """What is known of systems and protocols far from queries with answers."""

    strength: Tensor  # (S,), logit of a success at the level MIDDLE, on a benchmark of mean hardness
    cost: Tensor  # (P,), logits that a level costs

    def logits(self, level: Tensor, protocol: Tensor) -> Tensor:
        """Logits (N, S) of queries of `level` (N,), of systems of `protocol` (S,)."""
        return self.strength - (level[:, None] - MIDDLE) * self.cost[protocol]


@dataclass(frozen=True)
class Answers:
    """Rows with scores, of which those count that are seen."""

    level: Tensor  # (N,)
    benchmark: Tensor  # (N,), numbers from 0
    score: Tensor  # (N, S) in [0, 1]
    seen: Tensor  # (N, S)


def fit_strength(answers: Answers, protocol: Tensor, protocols: int, published: PublishedScores) -> Strength:
    """Strengths of the systems (S,) of each `protocol` (S,), compared within their protocol alone.

    A system with neither answers nor scores has its protocol's mean. A protocol without answers costs USUAL_COST.
    """
    strength, cost = torch.zeros(len(protocol)), torch.full((protocols,), USUAL_COST)
    for group in range(protocols):
        columns = torch.where(protocol == group)[0]
        rows = torch.where(answers.seen[:, columns].any(1))[0]
        if len(rows):
            own = Answers(
                answers.level[rows],
                answers.benchmark[rows].unique(return_inverse=True)[1],
                answers.score[rows][:, columns],
                answers.seen[rows][:, columns],
            )
            strength[columns], cost[group] = _fit(own, _of(published, columns))
    return Strength(strength, cost)


def _of(published: PublishedScores, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The published scores of the systems `columns`, by their place among them."""
    system, benchmark, score = (torch.tensor(part) for part in published)
    kept = torch.isin(system, columns)
    return torch.searchsorted(columns, system[kept]), benchmark[kept], score[kept].clamp(CLIP, 1 - CLIP)


@torch.enable_grad()
def _fit(own: Answers, published: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    systems, benchmarks = own.score.shape[1], int(own.benchmark.max()) + 1
    system, printed, printed_score = published
    boards = int(printed.max()) + 1 if len(printed) else 0
    shapes = [(systems,), (), (benchmarks,), (boards,), (benchmarks,), (boards,), (benchmarks, systems), (len(system),)]
    ability, excess, steep, board_steep, shift, board_shift, deviation, board_deviation = parameters = [
        torch.zeros(shape, requires_grad=True) for shape in shapes
    ]
    spreads = (1.0, COST_SPREAD, *[DISCRIMINATION_SPREAD] * 2, SHIFT_SPREAD, PUBLISHED_SHIFT_SPREAD, SPREAD, SPREAD)
    level, seen = own.level[:, None] - MIDDLE, own.seen.to(own.score)
    score = torch.where(own.seen, own.score, 0.0)

    def loss() -> Tensor:
        optimizer.zero_grad()
        cells = steep.exp()[:, None] * ability + shift[:, None] + deviation
        logit = cells[own.benchmark] - (USUAL_COST + excess) * level
        total = F.binary_cross_entropy_with_logits(logit, score, weight=seen, reduction="sum")
        logit = board_steep.exp()[printed] * ability[system] + board_shift[printed] + board_deviation
        total = total + PUBLISHED_ANSWERS * F.binary_cross_entropy_with_logits(logit, printed_score, reduction="sum")
        for each, spread in zip(parameters, spreads, strict=True):
            total = total + each.square().sum() / (2 * spread**2)
        total.backward()
        return total

    optimizer = torch.optim.LBFGS(parameters, max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe")
    optimizer.step(loss)
    strength = steep.exp().mean() * ability + shift.mean()
    return strength.detach(), (USUAL_COST + excess).detach()
