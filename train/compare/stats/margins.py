"""Figures of one router on one pool (docs/method.md section 4), for the sample and for each of its bootstrap draws.

Predictions and outcomes in, one array over draws per figure out. The sample's values are those of
`router.evaluation.metrics.evaluate`. Choices are made once, on the sample's grid of cost weights; every draw rebuilds
the router's hull, the Zero router's and the cost range between them.
Axes: R draws (the sample first), B queries, M candidates, P cost weights, G grid of relative costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.evaluation import metrics
from router.evaluation.metrics import Array, Hull, upper_hull

FEW_WINNERS = 3
RECALL_AT = (1, 3)
COST_GRID: Array = np.linspace(0.0, 1.0, 41)  # of hull heights, from the cheapest model's cost to the best single's
BINS = 10


@dataclass(frozen=True)
class Hulls:
    """R non-decreasing concave frontiers, each flat to the right of its last vertex."""

    each: tuple[Hull, ...]

    def heights(self, cost: Array) -> Array:
        """Qualities (R, G) reachable at mean costs (R, G); NaN to the left of a hull's first vertex."""
        rows = zip(self.each, cost, strict=True)
        return np.stack([np.where(x < h.cost[0], np.nan, np.interp(x, h.cost, h.quality)) for h, x in rows])

    def cost_of(self, quality: Array) -> Array:
        """Least mean cost (R,) at which `quality` (R,) is reached; NaN where a hull never reaches it."""
        return np.array([hull.cost_of(y) for hull, y in zip(self.each, quality.tolist(), strict=True)], float)

    def mean_heights(self, low: Array, high: Array, log_cost: bool = False) -> Array:
        """Mean quality (R,) for costs from `low` to `high` (R,), uniform in cost or (`log_cost`) in its logarithm.

        On a logarithmic axis a range that is empty or starts at 0 gives NaN.

        >>> hulls = upper_hulls(np.array([[1.0, 3.0], [1.0, 2.0]]), np.array([[0.4, 0.8], [0.4, 0.2]]))
        >>> hulls.mean_heights(np.array([1.0, 1.0]), np.array([5.0, 5.0])).round(6).tolist()
        [0.7, 0.4]
        """
        rows = zip(self.each, low.tolist(), high.tolist(), strict=True)
        return np.array([np.nan if log_cost and not b > a > 0 else h.mean_height(a, b, log_cost) for h, a, b in rows])


def upper_hulls(cost: Array, quality: Array) -> Hulls:
    """The non-decreasing concave hull of each row's points (R, P) (USD per query, mean score)."""
    return Hulls(tuple(upper_hull(*row) for row in zip(cost, quality, strict=True)))


@dataclass(frozen=True)
class Judged:
    """The judged queries of one pool, with the models and the weight that are fixed before any router is judged."""

    score: Array  # (B, M)
    realised: Array  # (B, M) USD
    best: int  # best single model and cheapest one, chosen on training rows
    cheapest: int
    dial_weight: float  # worth of a US dollar in quality at the default dial


@dataclass(frozen=True)
class Yardstick:
    """References of every router, per draw (R,): the Zero router's hull and single models' means."""

    zero: Hulls
    low: Array  # mean cost of the cheapest model
    high: Array  # of the best single model
    best: Array  # its mean score
    floor: Array  # mean score of the cheapest model
    oracle: Array
    aiq: Array
    aiq_log: Array

    @property
    def grid(self) -> Array:
        """Costs (R, G) at COST_GRID between the cheapest model's and the best single's."""
        return self.low[:, None] + COST_GRID * (self.high - self.low)[:, None]

    @classmethod
    def of(cls, judged: Judged, weights: Array) -> Yardstick:
        """References from outcomes and the draws' query weights (R, B)."""
        cost, score = weights @ judged.realised, weights @ judged.score
        low, high, zero = cost[:, judged.cheapest], cost[:, judged.best], upper_hulls(cost, score)
        return cls(
            zero,
            low,
            high,
            score[:, judged.best],
            score[:, judged.cheapest],
            weights @ judged.score.max(axis=1),
            zero.mean_heights(low, high),
            zero.mean_heights(low, high, log_cost=True),
        )


def figures(quality: Array, cost: Array, judged: Judged, yardstick: Yardstick, weights: Array) -> dict[str, Array]:
    """Every figure by name: over draws (R,) or of the sample alone (1,), and two curves.

    The curves are `height`, of the hull on COST_GRID (R, G), and `strongest`, the share of calls to the best single
    model along the cost weights (1, P). `quality` and `cost` (B, M) are the router's predictions, `weights` (R, B) the
    draws.
    """
    choices = _choices(quality, cost, judged, yardstick)
    hulls, mean_score = _hulls(choices, judged, yardstick, weights)
    strongest = choices == judged.best
    taken = choices[0][:, None] == np.arange(quality.shape[1])  # (B, M)
    shuffled = ((weights @ taken) * (weights @ judged.score)).sum(axis=1)  # mean of all ways to deal out the models
    return {
        **_of_hulls(hulls, mean_score, yardstick),
        "shuffled_margin": shuffled - yardstick.best,
        **_calibration(quality, judged, choices[0], weights),
        **_at_default_dial(quality, cost, judged, weights),
        **_recall(quality, judged, weights),
        "ece_all_cells": np.array([metrics.expected_calibration_error(quality.ravel(), judged.score.ravel())]),
        "collapse": weights @ strongest.mean(axis=0),
        "strongest": strongest.mean(axis=1)[None],
    }


def aiq_margin(quality: Array, cost: Array, judged: Judged, yardstick: Yardstick, weights: Array) -> Array:
    """That figure (R,) of `figures` alone."""
    hulls, _ = _hulls(_choices(quality, cost, judged, yardstick), judged, yardstick, weights)
    return hulls.mean_heights(yardstick.low, yardstick.high) - yardstick.aiq


def _choices(quality: Array, cost: Array, judged: Judged, yardstick: Yardstick) -> NDArray[np.intp]:
    """Models (P, B) chosen along the cost weights, by predictions (B, M) alone."""
    span = float(yardstick.high[0] - yardstick.low[0])
    unit = span if span > 0 else float(yardstick.high[0]) or 1.0  # as `metrics.hulls`
    return metrics.policy_points(quality, cost, judged.score, judged.realised, unit)[2]


def _hulls(choices: NDArray[np.intp], judged: Judged, y: Yardstick, weights: Array) -> tuple[Hulls, Array]:
    """Hulls of the choices (P, B) and the cheapest model in the draws (R, B), and mean scores (R,) at dial 0."""
    rows = np.arange(len(judged.score))
    cost = weights @ judged.realised[rows, choices].T  # (R, P)
    score = weights @ judged.score[rows, choices].T
    return upper_hulls(np.column_stack([cost, y.low]), np.column_stack([score, y.floor])), score[:, 0]


def _of_hulls(hulls: Hulls, quality: Array, y: Yardstick) -> dict[str, Array]:
    """Figures of the routers' hulls and of their mean scores (R,) at dial 0."""
    aiq, reached = hulls.mean_heights(y.low, y.high), hulls.cost_of(y.best)
    return {
        "aiq": aiq,
        "aiq_margin": aiq - y.aiq,
        "aiq_log_margin": hulls.mean_heights(y.low, y.high, log_cost=True) - y.aiq_log,
        "quality": quality,
        "quality_margin": quality - y.best,
        "half_cost_margin": hulls.heights(y.high[:, None] / 2)[:, 0] - y.best,
        "gap_closed": _ratio(quality - y.best, y.oracle - y.best),
        "cost_ratio": _ratio(reached, y.high),
        "unreached": np.full(len(quality), np.isnan(reached[1:]).mean()),
        "height": hulls.heights(y.grid),
    }


def _calibration(quality: Array, judged: Judged, chosen: NDArray[np.intp], weights: Array) -> dict[str, Array]:
    """Calibration of the model chosen (B,) at dial 0, and the bias over all cells.

    ECE has no draws, since its bins are the sample's. `ece_plain`, which keeps the sampling noise, has these bins in
    all draws.
    """
    rows = np.arange(len(quality))
    predicted, observed = quality[rows, chosen], judged.score[rows, chosen]
    squared = weights @ (predicted - observed) ** 2
    bins = np.array_split(np.argsort(predicted, kind="stable"), BINS)
    gaps = [np.abs(weights[:, each] @ (predicted - observed)[each]) for each in bins]
    return {
        "ece": np.array([metrics.expected_calibration_error(predicted, observed)]),
        "ece_plain": np.sum(gaps, axis=0),
        "bias": weights @ (quality - judged.score).mean(axis=1),
        "brier": squared,
        "brier_margin": squared - (weights @ observed**2 - (weights @ observed) ** 2),
    }


def _at_default_dial(quality: Array, cost: Array, judged: Judged, weights: Array) -> dict[str, Array]:
    """Share of calls to other models than the best single one, and RouterArena's score beside that model's."""
    rows = np.arange(len(quality))
    chosen = metrics.choose(quality, cost, judged.dial_weight)
    return {
        "leaves_best_single": weights @ (chosen != judged.best),
        "routerarena": router_arena(weights @ judged.score[rows, chosen], weights @ judged.realised[rows, chosen]),
        "routerarena_best_single": router_arena(
            weights @ judged.score[:, judged.best], weights @ judged.realised[:, judged.best]
        ),
    }


def router_arena(accuracy: Array, cost_usd: Array) -> Array:
    """RouterArena's score (2510.00202), beta = 0.1, of mean scores and mean costs per query.

    >>> router_arena(np.array([0.5]), np.array([0.2])).tolist()  # 200 USD per thousand: the dearest on its scale
    [0.0]
    """
    beta, dear, cheap = 0.1, np.log2(200.0), np.log2(0.0044)
    per_thousand = np.clip(1000 * cost_usd, 0.0044, 200.0)
    saved = (dear - np.log2(per_thousand)) / (dear - cheap)
    return _ratio((1 + beta) * accuracy * saved, beta * accuracy + saved)


def _recall(quality: Array, judged: Judged, weights: Array) -> dict[str, Array]:
    """Share of queries with one to three good models where one of these is among the k best predicted."""
    wins = judged.score > 0.5
    rare = (wins.sum(axis=1) >= 1) & (wins.sum(axis=1) <= FEW_WINNERS)
    won = np.take_along_axis(wins, np.argsort(-quality, axis=1, kind="stable"), axis=1)
    share = weights @ rare
    return {f"recall_at_{k}": _ratio(weights @ (rare & won[:, :k].any(axis=1)), share) for k in RECALL_AT}


def _ratio(part: Array, whole: Array) -> Array:
    """`part / whole`, NaN where `whole` is not above 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def reliability(predicted: Array, observed: Array) -> tuple[Array, Array]:
    """Mean prediction and mean score (BINS,) per equal-mass bin of probabilities (N,); NaN in an empty bin.

    >>> [side[:3].tolist() for side in reliability(np.array([0.2, 0.4]), np.array([0.0, 1.0]))]
    [[0.2, 0.4, nan], [0.0, 1.0, nan]]
    """
    parts = np.array_split(np.argsort(predicted, kind="stable"), BINS)
    means = [[side[part].mean() if len(part) else np.nan for part in parts] for side in (predicted, observed)]
    return np.array(means[0]), np.array(means[1])
