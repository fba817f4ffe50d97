"""Adds models to a trained checkpoint, and takes them out again: only their own rows are fitted.

A checkpoint and answers in, a checkpoint out; the trained part is the same object in both. The maths is in
`router.onboarding.profile_fit`. Axes: S systems, n answers, F numbers of a profile.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from router.arrays import clipped_sigmoid, concat, host
from router.checkpoint.added_models import RANK, Onboarded, OnboardedProfile, with_members
from router.checkpoint.benchmark_scores import FEWEST, as_logits
from router.checkpoint.checkpoint import Checkpoint
from router.errors import PoolError, UsageError, known_names
from router.network.scoring import CHARS_PER_TOKEN
from router.network.vectors import QueryVectors
from router.onboarding.graded_answers import Answers
from router.onboarding.profile_fit import Array, FittedProfile, ProfilePrior, fit_length, fit_profile, leading, prior_of
from router.policy.candidates import features
from router.pools.models import ModelFacts, System

if TYPE_CHECKING:
    from router.checkpoint.checkpoint import Network
    from router.encoding.backend import Encoder

logger = logging.getLogger(__name__)
CHUNK = 1024  # queries encoded between two moves of the progress bar


@dataclass(frozen=True)
class Onboarding:
    """What was fitted, and how well what it rests on is known to work."""

    checkpoint: Checkpoint  # with the new profile
    profile: OnboardedProfile
    known: int  # trained systems that the prior was drawn from
    side: tuple[str, ...]  # what was known of the model besides answers: benchmarks, `price`
    prior_error: float  # rms error of the mean score when each known system is judged by such a prior alone
    blind_error: float  # the same without any side information
    deviation: float  # mean standard deviation of its quality over the answered queries; NaN without answers


def read_queries(encoder: Encoder, network: Network, texts: Sequence[str], progress: bool = False) -> QueryVectors:
    """What the network reads in the texts, longest first inside, with a progress bar on stderr if asked for."""
    order = np.argsort([-len(text) for text in texts], kind="stable")
    parts = []
    with tqdm(total=len(texts), unit="query", desc="reading", disable=not progress) as bar:
        for start in range(0, len(order), CHUNK):
            chunk = [texts[i] for i in order[start : start + CHUNK]]
            parts.append(encoder.encode(chunk))
            bar.update(len(chunk))
    return network.query_vectors(concat(parts)[np.argsort(order)])


def onboard(
    checkpoint: Checkpoint,
    facts: ModelFacts,
    answers: Answers | None = None,
    *,
    benchmarks: Mapping[str, float] | None = None,
    protocol: str | None = None,
    pools: Collection[str] | None = None,
    replace_old: bool = False,
    progress: bool = False,
) -> Onboarding:
    """Fit a profile of the model that `facts` name, from graded answers, published benchmark scores or both.

    `replace_old` fits a model anew that was onboarded before, under whatever protocol; without `pools` it then stays in
    those it is in. `protocol` is the trained one whose difficulty and lengths apply; by default that of most of the
    default pool. The model joins `pools`. Raises UsageError or PoolError for what does not fit.
    """
    if answers is None and not benchmarks:
        raise UsageError("give graded answers, benchmark scores, or both: without either there is nothing to fit")
    if answers is not None and not answers.queries:
        raise UsageError("there is no graded answer to fit a profile to: give at least one")
    like = protocol or home_protocol(checkpoint)
    if like not in checkpoint.protocols:
        raise UsageError(f"unknown protocol {like!r}; {known_names(like, checkpoint.protocols)}")
    system = System(facts.id, like)
    _check_name(facts.id)
    before = [each for each in checkpoint.onboarded.systems if each.model == facts.id] if replace_old else []
    was_in = dict.fromkeys(name for each in before for name in pools_of(checkpoint, each))
    checkpoint = cleared(checkpoint, [system, *before], replace_old)
    if pools is None:
        known = with_members(checkpoint.pools, checkpoint.onboarded)
        pools = [name for name in was_in if name in known]
        if gone := [name for name in was_in if name not in known]:
            logger.warning("%s was all of pool %s, which is gone with its old profile", facts.id, ", ".join(gone))
    _check_pools(checkpoint, facts, pools)
    prior = prior_for(checkpoint, like, facts, benchmarks)
    if answers is None:
        fitted, tokens = fit_profile(np.zeros((0, prior.columns)), np.zeros(0), prior.row), prior.log_tokens
        profile = make_profile(system, facts, like, fitted, tokens, prior.means)
        deviation = math.nan
    else:
        query = read_queries(checkpoint.encoder, checkpoint.network, answers.queries, progress)
        seen = query_features(query, checkpoint, like)
        fitted = fit_profile(seen, answers.score, prior.row)
        column = checkpoint.protocols.index(like)
        tokens = fit_length(
            host(query.log_length[:, column]).astype(np.float64), answers.output_tokens, prior.log_tokens
        )
        profile = make_profile(system, facts, like, fitted, tokens, _means(answers, prior.means), len(answers.queries))
        deviation = float(quality_deviation(seen, fitted).mean())
    profile = replace(profile, benchmarks=dict(benchmarks or {}), pools=tuple(pools))
    old = checkpoint.onboarded
    made = replace(checkpoint, onboarded=Onboarded((*old.profiles, profile), old.pools))
    return Onboarding(made, profile, prior.known, prior.side, prior.error, prior.blind, deviation)


def forget(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """The checkpoint without an onboarded model, named as `model` or `model@protocol`; PoolError for any other."""
    systems = checkpoint.onboarded.systems
    found = [system for system in systems if name in (system.id, system.model)]
    if len(found) > 1:
        raise PoolError(f"{name!r} was onboarded several times: name one of {', '.join(each.id for each in found)}")
    if not found:
        trained = any(name in (system.id, system.model) for system in checkpoint.systems)
        reason = "was trained with the router and cannot be removed" if trained else "was not onboarded"
        known = f"; {known_names(name, (system.id for system in systems))}" if systems else "; no model was"
        raise PoolError(f"{name!r} {reason}{known}")
    return replace(checkpoint, onboarded=checkpoint.onboarded.without(found))


def pools_of(checkpoint: Checkpoint, system: System) -> tuple[str, ...]:
    """The pools that an onboarded system is in; none for any other."""
    known = with_members(checkpoint.pools, checkpoint.onboarded)
    onboarded = system in checkpoint.onboarded.systems
    return tuple(name for name, pool in known.items() if onboarded and any(c.system == system for c in pool.candidates))


def home_protocol(checkpoint: Checkpoint) -> str:
    """The protocol of most members of the default pool."""
    pool = checkpoint.pools[checkpoint.default_pool]
    names = [candidate.system.protocol for candidate in pool.candidates if candidate.system is not None]
    return max(sorted(set(names)), key=names.count) if names else checkpoint.protocols[0]


def quality_deviation(seen: Array, fitted: FittedProfile) -> Array:
    """Standard deviation (n,) of the quality on queries of features (n, F), to first order."""
    quality = clipped_sigmoid(seen @ fitted.row)
    return np.linalg.norm(seen @ fitted.factor, axis=1) * quality * (1 - quality)


@dataclass(frozen=True)
class Prior:
    """What is expected of a new system before its answers."""

    row: ProfilePrior
    log_tokens: float
    means: tuple[float, float, float]  # mean score, mean input and output tokens
    known: int
    side: tuple[str, ...]
    error: float
    blind: float

    @property
    def columns(self) -> int:
        return len(self.row.mean)


def prior_for(
    checkpoint: Checkpoint, like: str, facts: ModelFacts | None = None, benchmarks: Mapping[str, float] | None = None
) -> Prior:
    """From the trained systems under `like`, other than of the same model, that have the same side information.

    Prices count only where no benchmark is known, which tells more (docs/experiments.md).
    """
    table, name, benchmarks = checkpoint.network.learned, facts.id if facts else None, benchmarks or {}
    rows = [m for m, system in enumerate(checkpoint.systems) if system.protocol == like and system.model != name]
    models = [checkpoint.systems[m].model for m in rows]
    if not rows:
        raise UsageError(f"no trained system under protocol {like!r} to draw a prior from; name another protocol")
    side: dict[str, Array] = {}
    own: list[float] = []
    for benchmark, score in benchmarks.items():
        known = checkpoint.benchmarks.of(benchmark, like, models)
        if not np.isnan(known).all():
            _warn_beyond(benchmark, score, known)
        side[benchmark] = as_logits(known)
        own.append(float(as_logits(np.array(score))))
    if not side and facts and facts.output_usd_per_mtok:
        side["price"] = np.array([_log_price(checkpoint.models.get(model)) for model in models])
        own.append(math.log(facts.output_usd_per_mtok))
    columns = np.array(list(side.values())).T.reshape(len(rows), len(side))
    told = ~np.isnan(columns).any(axis=1)
    if side and told.sum() < FEWEST:
        if benchmarks:
            counts = ", ".join(f"{each}: {int((~np.isnan(values)).sum())}" for each, values in side.items())
            raise UsageError(
                f"only {int(told.sum())} known models under {like!r} have all of these benchmarks ({counts}); at least "
                f"{FEWEST} must: leave one out"
            )
        side, own, columns, told = {}, [], columns[:, :0], np.ones(len(rows), bool)
    kept = np.array(rows)[told]
    given = columns[told], np.array(own)
    # What is kept beside the row is expected by the same regression, on a scale of its own.
    beside = (table.mean_score, table.mean_input_tokens, table.mean_output_tokens, table.log_tokens)
    values = np.stack([host(each) for each in beside], axis=1).astype(np.float64)[kept]
    scale = np.maximum(values.std(axis=0), 1e-9)
    expected, blind = prior_of(values / scale, *given), prior_of(values / scale, columns[told][:, :0], np.zeros(0))
    score, tokens_in, tokens_out, log_tokens = (expected.mean * scale).tolist()
    return Prior(
        prior_of(host(table.rows()).astype(np.float64)[kept], *given),
        log_tokens,
        (min(max(score, 0.0), 1.0), max(tokens_in, 0.0), max(tokens_out, 0.0)),
        len(kept),
        tuple(side),
        *(float(scale[0] * np.sqrt(np.square(each.left_out[:, 0]).mean())) for each in (expected, blind)),
    )


def _log_price(facts: ModelFacts | None) -> float:
    return math.log(facts.output_usd_per_mtok) if facts and facts.output_usd_per_mtok else math.nan


def query_features(query: QueryVectors, checkpoint: Checkpoint, like: str) -> Array:
    """(n, F) of the queries under a protocol."""
    column = checkpoint.protocols.index(like)
    return host(features(query, column, checkpoint.network.size.columns)).astype(np.float64)


def _means(answers: Answers, prior: tuple[float, float, float]) -> tuple[float, float, float]:
    """Mean score and mean input and output tokens of answers; the prior's where no length is known."""
    known = answers.output_tokens[~np.isnan(answers.output_tokens)]
    tokens_in = float(np.mean([len(query) / CHARS_PER_TOKEN for query in answers.queries]))
    return float(answers.score.mean()), tokens_in, float(known.mean()) if len(known) else prior[2]


def make_profile(
    system: System,
    facts: ModelFacts,
    like: str,
    fitted: FittedProfile,
    log_tokens: float,
    means: tuple[float, float, float],
    answers: int = 0,
) -> OnboardedProfile:
    row, factor = (part.astype(np.float32) for part in (fitted.row, leading(fitted.factor, RANK)))
    return OnboardedProfile(system, facts, like, row, factor, log_tokens, *means, answers)


def cleared(checkpoint: Checkpoint, systems: Sequence[System], replace_old: bool) -> Checkpoint:
    """The checkpoint without those of `systems` that were onboarded before; UsageError where that was not allowed."""
    trained = [system.id for system in systems if system in checkpoint.systems]
    if trained:
        raise UsageError(
            f"{', '.join(trained[:10])} has a profile from training already, which saw more answers: give the model "
            "another name, or another protocol"
        )
    old = [system for system in systems if system in checkpoint.onboarded.systems]
    if old and not replace_old:
        raise UsageError(
            f"onboarded already: {', '.join(system.id for system in old[:10])}; --replace (replace_old) fits anew"
        )
    return replace(checkpoint, onboarded=checkpoint.onboarded.without(old)) if old else checkpoint


def _check_name(name: str) -> None:
    """UsageError for a name that could not be typed again, or that constraints and pool files would take otherwise."""
    if not name or name != name.strip() or not name.isprintable() or set(name) & set(",*?[]"):
        raise UsageError(
            f"a model's name must be printable, without spaces around it and without any of , * ? [ ]; got {name!r}"
        )


def _warn_beyond(benchmark: str, score: float, known: Array) -> None:
    """Say that a score lies beyond all known ones: what follows from it is a guess that no known model bears out."""
    low, high = np.nanmin(known), np.nanmax(known)
    if not low <= score <= high:
        logger.warning(
            "%s=%g lies beyond what the known models scored (%.2f to %.2f): the profile is extrapolated, and the error "
            "that is printed does not hold",
            benchmark,
            score,
            low,
            high,
        )


def _check_pools(checkpoint: Checkpoint, facts: ModelFacts, pools: Collection[str]) -> None:
    """UsageError where the model cannot join `pools`, trained or onboarded ones."""
    known = with_members(checkpoint.pools, checkpoint.onboarded)
    for name in pools:
        if name not in known:
            raise UsageError(f"unknown pool {name!r}; {known_names(name, known)}")
        if facts.id in known[name].ids:
            raise UsageError(f"pool {name!r} has a model {facts.id!r} already: give the new one another name")
    if pools and not facts.priced:
        raise UsageError(
            f"{facts.id} cannot join pool {next(iter(pools))!r} without prices: give both, or only make its profile"
        )
