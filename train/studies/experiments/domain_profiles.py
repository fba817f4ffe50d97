"""Predicted against actual performance per knowledge domain, on held-out queries: what profiles know of models.

For each domain and model, the mean predicted quality of the domain's queries next to their mean score. How a model
differs on a domain from its own mean is what a profile adds to a leaderboard: those differences are correlated apart.
Axes: B queries, M candidates, D domains with enough queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEWEST = 30  # queries of a domain, for its means to be compared


@dataclass(frozen=True)
class DomainMeans:
    """What was predicted and what came out."""

    domains: tuple[str, ...]  # D
    queries: NDArray[np.intp]  # (D,)
    predicted: Array  # (D, M)
    actual: Array  # (D, M)
    noise: Array  # (D, M) variance of an actual mean by the chance of which queries were drawn
    noise_apart: Array  # (D, M) the same of a model's mean less that of all: hard queries are hard for all of them


def domain_means(domain: NDArray[np.str_], predicted: Array, score: Array, fewest: int = FEWEST) -> DomainMeans:
    """Means of `predicted` and `score` (B, M) by `domain` (B,), of domains with at least `fewest` queries."""
    names, counts = np.unique(domain, return_counts=True)
    names, counts = names[counts >= fewest], counts[counts >= fewest]
    apart = score - score.mean(axis=1, keepdims=True)

    def by_domain(values: Array, variance: bool = False) -> Array:
        parts = [values[domain == name] for name in names]
        found = [part.var(axis=0, ddof=1) / len(part) if variance else part.mean(axis=0) for part in parts]
        return np.array(found).reshape(len(names), score.shape[1])

    return DomainMeans(
        tuple(str(name) for name in names),
        counts.astype(np.intp),
        by_domain(predicted),
        by_domain(score),
        by_domain(score, variance=True),
        by_domain(apart, variance=True),
    )


def figures(means: DomainMeans) -> dict[str, Any]:
    """How near the predicted means are to the actual ones.

    `correlation` is over all domain and model cells; `error` the mean absolute difference, `noise` what it would be if
    predictions were the truth. `of_models` correlates cells less their model's mean over domains and their domain's
    mean over models; `greatest` is what sampling noise leaves possible of it.
    """
    error = np.abs(means.predicted - means.actual).mean()
    expected, seen = _interaction(means.predicted), _interaction(means.actual)
    signal = max(float((seen**2).mean() - means.noise_apart.mean()), 0.0)
    return {
        "domains": len(means.domains),
        "cells": int(means.actual.size),
        "correlation": correlation(means.predicted, means.actual),
        "error": float(error),
        "noise": float(np.sqrt(2 / np.pi) * np.sqrt(means.noise).mean()),
        "of_models": correlation(expected, seen),
        "greatest": float(np.sqrt(signal / (seen**2).mean())) if np.abs(seen).max() > 1e-12 else None,
    }


def _interaction(cells: Array) -> Array:
    """(D, M) cells less the means of their row and of their column.

    >>> _interaction(np.array([[1.0, 2.0], [2.0, 3.0]])).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return cells - cells.mean(axis=0) - cells.mean(axis=1, keepdims=True) + cells.mean()


def correlation(one: Array, other: Array) -> float | None:
    """Pearson's correlation of all cells; None where one does not vary."""
    if one.size < 2 or np.ptp(one) < 1e-12 or np.ptp(other) < 1e-12:
        return None
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
