"""Onboarding of one model: fit its profile from graded answers or benchmark scores, or remove it again.

Only the new row is fitted; the trained part of the returned checkpoint is the same object. The mathematics is in
`router.onboarding.profile_fit`. Axes: S systems, n answers, F numbers of a profile.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from router.arrays import clipped_sigmoid, host
from router.checkpoint.added_models import RANK, AddedModels, AddedProfile
from router.checkpoint.checkpoint import Checkpoint
from router.encoding.tokenizer import longest_first
from router.errors import PoolError, UsageError, known_names
from router.network.vectors import QueryVectors
from router.onboarding.graded_answers import Answers, make_answers
from router.onboarding.prior import Prior, prior_for
from router.onboarding.profile_fit import Array, FittedProfile, fit_length, fit_profile, leading
from router.options import CHARS_PER_TOKEN
from router.policy.candidates import features
from router.pools.models import ModelFacts, System

if TYPE_CHECKING:
    from router.checkpoint.checkpoint import Network
    from router.encoding.backend import Encoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Onboarding:
    """A new profile, and the error of its prior on the known systems."""

    checkpoint: Checkpoint  # with the new profile
    profile: AddedProfile
    known: int  # number of trained systems that the prior was drawn from
    side: tuple[str, ...]  # side information, besides answers: benchmarks, or `price`
    prior_error: float  # rms error of the mean score if such a prior alone predicts each known system
    blind_error: float  # the same without any side information
    deviation: float  # mean standard deviation of the quality over the answered queries; NaN without answers


def encode_queries(encoder: Encoder, network: Network, texts: Sequence[str], progress: bool = False) -> QueryVectors:
    """Query vectors of texts, computed longest first; `progress` shows a bar on stderr."""
    (embedding,) = longest_first(texts, lambda chunk: (encoder.encode(chunk),), "reading", progress)
    return network.query_vectors(embedding)


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
    """Fit a profile of the model that `facts` describe, from graded answers, published benchmark scores or both.

    The difficulty and answer lengths of the trained `protocol` apply, by default the most frequent one of the default
    pool. The model joins `pools`. `replace_old` fits an added model again, under any protocol; without `pools` it then
    stays in its pools. Raises UsageError or PoolError for arguments that are unusable or contradict the checkpoint.
    """
    if answers is None and not benchmarks:
        raise UsageError("give graded answers, benchmark scores, or both: without either there is nothing to fit")
    if answers is not None and not answers.queries:
        raise UsageError("there is no graded answer to fit a profile to: give at least one")
    protocol = protocol or default_protocol(checkpoint)
    checkpoint, system, pools = prepared(checkpoint, facts, protocol, pools, replace_old)
    prior = prior_for(checkpoint, protocol, facts, benchmarks)
    if answers is None:
        answers = make_answers([], [])
        inputs, log_length = np.zeros((0, len(prior.row.mean))), np.zeros(0)
    else:
        query = encode_queries(checkpoint.encoder, checkpoint.network, answers.queries, progress)
        inputs, log_length = query_features(query, checkpoint, protocol), query_lengths(query, checkpoint, protocol)
    fitted = fit_profile(inputs, answers.score, prior.row)
    tokens_in = np.array([len(text) / CHARS_PER_TOKEN for text in answers.queries])
    profile = make_profile(
        system, facts, protocol, fitted, prior, log_length, answers.score, tokens_in, answers.output_tokens
    )
    profile = replace(profile, benchmarks=dict(benchmarks or {}), pools=tuple(pools))
    deviation = float(quality_deviation(inputs, fitted).mean()) if answers.queries else math.nan
    others = checkpoint.added_models
    made = replace(checkpoint, added_models=AddedModels((*others.profiles, profile), others.pools))
    return Onboarding(made, profile, prior.known, prior.side, prior.error, prior.blind, deviation)


def prepared(
    checkpoint: Checkpoint, facts: ModelFacts, protocol: str, pools: Collection[str] | None, replace_old: bool
) -> tuple[Checkpoint, System, Collection[str]]:
    """The checkpoint without the old profiles of the model, its new system, and the pools that it joins.

    Raises what `onboard` raises for a model that cannot be added.
    """
    if protocol not in checkpoint.protocols:
        raise UsageError(f"unknown protocol {protocol!r}; {known_names(protocol, checkpoint.protocols)}")
    system = System(facts.id, protocol)
    _check_name(facts.id)
    old = [each for each in checkpoint.added_models.systems if each.model == facts.id] if replace_old else []
    before = checkpoint.all_pools.items()
    old_pools = [name for name, pool in before if any(member.system in old for member in pool.candidates)]
    checkpoint = without_old_profiles(checkpoint, [system, *old], replace_old)
    if pools is None:
        pools = [name for name in old_pools if name in checkpoint.all_pools]
        if gone := [name for name in old_pools if name not in checkpoint.all_pools]:
            logger.warning("%s was all of pool %s, which is gone with its old profile", facts.id, ", ".join(gone))
    _check_pools(checkpoint, facts, pools)
    return checkpoint, system, pools


def forget(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """The checkpoint without an added model, by `model` or `model@protocol`; PoolError for any other name."""
    systems = checkpoint.added_models.systems
    found = [system for system in systems if name in (system.id, system.model)]
    if len(found) > 1:
        raise PoolError(f"{name!r} was onboarded several times: name one of {', '.join(each.id for each in found)}")
    if not found:
        trained = any(name in (system.id, system.model) for system in checkpoint.systems)
        reason = "was trained with the router and cannot be removed" if trained else "was not onboarded"
        known = f"; {known_names(name, (system.id for system in systems))}" if systems else "; no model was"
        raise PoolError(f"{name!r} {reason}{known}")
    return replace(checkpoint, added_models=checkpoint.added_models.without(found))


def default_protocol(checkpoint: Checkpoint) -> str:
    """The most frequent protocol in the default pool."""
    pool = checkpoint.pools[checkpoint.default_pool]
    names = [candidate.system.protocol for candidate in pool.candidates if candidate.system is not None]
    return max(sorted(set(names)), key=names.count) if names else checkpoint.protocols[0]


def quality_deviation(inputs: Array, fitted: FittedProfile) -> Array:
    """Standard deviation (n,) of the quality on queries with features `inputs` (n, F), to first order."""
    quality = clipped_sigmoid(inputs @ fitted.row)
    return np.linalg.norm(inputs @ fitted.factor, axis=1) * quality * (1 - quality)


def query_features(query: QueryVectors, checkpoint: Checkpoint, protocol: str) -> Array:
    """Features (n, F) of queries under a protocol."""
    column = checkpoint.protocols.index(protocol)
    return host(features(query, column, checkpoint.network.size.columns)).astype(np.float64)


def query_lengths(query: QueryVectors, checkpoint: Checkpoint, protocol: str) -> Array:
    """Log factors (n,) of the length of answers to queries under a protocol."""
    return host(query.log_length[:, checkpoint.protocols.index(protocol)]).astype(np.float64)


def make_profile(
    system: System,
    facts: ModelFacts,
    reference_protocol: str,
    fitted: FittedProfile,
    prior: Prior,
    log_length: Array,
    score: Array,
    tokens_in: Array,
    tokens_out: Array,
) -> AddedProfile:
    """The profile as it is stored: float32, with RANK directions of uncertainty.

    Its lengths and means are those of the answers, (n,) each, NaN for an unknown length; where there are none, the
    prior's.
    """
    row, factor = (part.astype(np.float32) for part in (fitted.row, leading(fitted.factor, RANK)))
    known, means = tokens_out[~np.isnan(tokens_out)], prior.means
    if len(score):
        means = float(score.mean()), float(tokens_in.mean()), float(known.mean()) if len(known) else means[2]
    log_tokens = fit_length(log_length, tokens_out, prior.log_tokens)
    return AddedProfile(system, facts, reference_protocol, row, factor, log_tokens, *means, len(score))


def without_old_profiles(checkpoint: Checkpoint, systems: Sequence[System], replace_old: bool) -> Checkpoint:
    """The checkpoint without the added ones of `systems`; UsageError for a trained one, and without `replace_old`."""
    trained = [system.id for system in systems if system in checkpoint.systems]
    if trained:
        raise UsageError(
            f"{', '.join(trained[:10])} has a profile from training already, which saw more answers: give the model "
            "another name, or another protocol"
        )
    old = [system for system in systems if system in checkpoint.added_models.systems]
    if old and not replace_old:
        raise UsageError(
            f"onboarded already: {', '.join(system.id for system in old[:10])}; --replace (replace_old) fits anew"
        )
    return replace(checkpoint, added_models=checkpoint.added_models.without(old)) if old else checkpoint


def _check_name(name: str) -> None:
    """UsageError for a name that cannot be typed, or that constraints and pool files would misread."""
    if not name or name != name.strip() or not name.isprintable() or set(name) & set(",*?[]"):
        raise UsageError(
            f"a model's name must be printable, without spaces around it and without any of , * ? [ ]; got {name!r}"
        )


def _check_pools(checkpoint: Checkpoint, facts: ModelFacts, pools: Collection[str]) -> None:
    """UsageError if the model cannot join `pools`."""
    known = checkpoint.all_pools
    for name in pools:
        if name not in known:
            raise UsageError(f"unknown pool {name!r}; {known_names(name, known)}")
        if facts.id in known[name].ids:
            raise UsageError(f"pool {name!r} has a model {facts.id!r} already: give the new one another name")
    if pools and not facts.priced:
        raise UsageError(
            f"{facts.id} cannot join pool {next(iter(pools))!r} without prices: give both, or only make its profile"
        )
