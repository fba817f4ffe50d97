"""Prior of a new model: its expected profile, drawn from trained systems with the same side information.

The mathematics is in `router.onboarding.profile_fit`.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from router.arrays import host
from router.checkpoint.benchmark_scores import FEWEST, as_logits
from router.checkpoint.checkpoint import Checkpoint
from router.errors import UsageError
from router.onboarding.profile_fit import Array, ProfilePrior, fit_prior
from router.pools.models import ModelFacts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prior:
    """Expectation of a new system before its answers."""

    row: ProfilePrior
    log_tokens: float
    means: tuple[float, float, float]  # mean score, mean input and output tokens
    known: int  # number of systems that it was drawn from
    side: tuple[str, ...]  # names of the side information
    error: float  # rms error of the mean score if such a prior alone predicts each known system
    blind: float  # the same without any side information


def prior_for(
    checkpoint: Checkpoint,
    protocol: str,
    facts: ModelFacts | None = None,
    benchmarks: Mapping[str, float] | None = None,
) -> Prior:
    """The prior from trained systems under `protocol` that have the same side information and are of other models.

    Prices count only if no benchmark is known, since benchmarks are more informative (docs/experiments.md).
    """
    table, name, benchmarks = checkpoint.network.learned, facts.id if facts else None, benchmarks or {}
    rows = [m for m, system in enumerate(checkpoint.systems) if system.protocol == protocol and system.model != name]
    models = [checkpoint.systems[m].model for m in rows]
    if not rows:
        raise UsageError(f"no trained system under protocol {protocol!r} to draw a prior from; name another protocol")
    side: dict[str, Array] = {}
    own: list[float] = []
    for benchmark, score in benchmarks.items():
        known = checkpoint.benchmarks.of(benchmark, protocol, models)
        if not np.isnan(known).all():
            _warn_beyond(benchmark, score, known)
        side[benchmark] = as_logits(known)
        own.append(float(as_logits(np.array(score))))
    if not side and facts and facts.output_usd_per_mtok:
        prices = [each and each.output_usd_per_mtok for each in map(checkpoint.models.get, models)]
        side["price"] = np.array([math.log(price) if price else math.nan for price in prices])
        own.append(math.log(facts.output_usd_per_mtok))
    columns = np.array(list(side.values())).T.reshape(len(rows), len(side))
    complete = ~np.isnan(columns).any(axis=1)
    if side and complete.sum() < FEWEST:
        if benchmarks:
            counts = ", ".join(f"{each}: {int((~np.isnan(values)).sum())}" for each, values in side.items())
            raise UsageError(
                f"only {int(complete.sum())} known models under {protocol!r} have all of these benchmarks ({counts}); "
                f"at least {FEWEST} must: leave one out"
            )
        side, own, columns, complete = {}, [], columns[:, :0], np.ones(len(rows), bool)
    kept = np.array(rows)[complete]
    given = columns[complete], np.array(own)
    # Means and lengths are expected by the same regression as the row, each on its own scale.
    beside = (table.mean_score, table.mean_input_tokens, table.mean_output_tokens, table.log_tokens)
    values = np.stack([host(each) for each in beside], axis=1).astype(np.float64)[kept]
    scale = np.maximum(values.std(axis=0), 1e-9)
    expected, blind = (fit_prior(values / scale, *each) for each in (given, (given[0][:, :0], np.zeros(0))))
    score, tokens_in, tokens_out, log_tokens = (expected.mean * scale).tolist()
    return Prior(
        fit_prior(host(table.rows()).astype(np.float64)[kept], *given),
        log_tokens,
        (min(max(score, 0.0), 1.0), max(tokens_in, 0.0), max(tokens_out, 0.0)),
        len(kept),
        tuple(side),
        *(float(scale[0] * np.sqrt(np.square(each.left_out[:, 0]).mean())) for each in (expected, blind)),
    )


def _warn_beyond(benchmark: str, score: float, known: Array) -> None:
    """Log a warning if a score lies beyond all known ones, since no known model supports the extrapolation."""
    low, high = np.nanmin(known), np.nanmax(known)
    if not low <= score <= high:
        logger.warning(
            "%s=%g lies beyond what the known models scored (%.2f to %.2f): the profile is extrapolated, and the error "
            "that is printed does not hold", benchmark, score, low, high,
        )  # fmt: skip
