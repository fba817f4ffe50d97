"""Onboarding of all new systems in a data folder, and a pool of them.

An unknown protocol is replaced by the trained one that explains its answers best. Systems of one protocol share
information: the prior mean of each is the mean profile of the other new ones, not of the trained ones.
Axes: N queries of the folder, n rows with answers, S new systems, F numbers of a profile.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from router.checkpoint.added_models import AddedModels, AddedProfile
from router.checkpoint.checkpoint import Checkpoint
from router.errors import PoolError, UsageError
from router.evaluation.dataset import Dataset
from router.evaluation.pool_report import pool_outcomes, reference_models
from router.network.vectors import QueryVectors
from router.onboarding.add_model import (
    encode_queries,
    make_profile,
    query_features,
    query_lengths,
    without_old_profiles,
)
from router.onboarding.prior import Prior, prior_for
from router.onboarding.profile_fit import Array, FittedProfile, ProfilePrior, fit_profile
from router.pools.models import ModelFacts
from router.pools.pool import Candidate, Pool

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderOnboarding:
    """Profiles and the pool that were made from a folder."""

    checkpoint: Checkpoint  # with the new profiles and the pool
    profiles: tuple[AddedProfile, ...]
    pool: Pool
    unpriced: tuple[str, ...]  # models that are not in the pool, since they have no price


def onboard_folder(
    checkpoint: Checkpoint,
    dataset: Dataset,
    rows: NDArray[np.bool_],
    pool: str,
    *,
    replace_old: bool = False,
    progress: bool = False,
) -> FolderOnboarding:
    """Profiles of the folder's systems that were not trained, from the outcomes on `rows` (N,), and a pool of them.

    Raises UsageError if there is nothing to fit or the pool's name is taken.
    """
    if pool in checkpoint.pools:
        raise UsageError(f"the checkpoint was trained with a pool {pool!r}: name the new one otherwise, with --pool")
    answered = ~np.isnan(dataset.score) & rows[:, None]
    columns = [s for s, system in enumerate(dataset.systems) if answered[:, s].any()]
    known = [s for s in columns if dataset.systems[s] in checkpoint.systems]
    new = [s for s in columns if s not in known]
    if not new:
        raise UsageError(
            f"{dataset.folder} has no graded answer of a system that training did not know on these rows"
            + (f" ({len(known)} systems it did know)" if known else "; name another split")
        )
    if known:
        logger.warning("%d systems of %s keep their trained profiles", len(known), dataset.folder)
    checkpoint = without_old_profiles(checkpoint, [dataset.systems[s] for s in new], replace_old)
    if any(each.name == pool for each in checkpoint.added_models.pools):
        raise UsageError(f"there is an onboarded pool {pool!r} with other models: name the new one otherwise")
    models = [dataset.systems[s].model for s in new]
    twice = sorted({model for model in models if models.count(model) > 1})
    if twice:
        raise PoolError(
            f"{twice[0]} has outcomes under several new protocols, and a pool names a model once: put each protocol's "
            "outcomes into a folder of its own"
        )
    if not any(model in dataset.models and dataset.models[model].priced for model in models):
        raise UsageError(
            f"none of {', '.join(models[:10])} has prices in {dataset.folder}/models.csv, so there is no pool to make"
        )
    read = np.flatnonzero(answered[:, new].any(axis=1))
    texts = dataset.queries["text"].to_numpy()[read].tolist()
    query = encode_queries(checkpoint.encoder, checkpoint.network, texts, progress)
    profiles: list[AddedProfile] = []
    for protocol in sorted({dataset.systems[s].protocol for s in new}):
        group = [s for s in new if dataset.systems[s].protocol == protocol]
        profiles += _fit_group(checkpoint, dataset, query, read, group)
    made, unpriced = _pool(dataset, rows, pool, profiles)
    old = checkpoint.added_models
    joined = replace(checkpoint, added_models=AddedModels((*old.profiles, *profiles), (*old.pools, made)))
    return FolderOnboarding(joined, tuple(profiles), made, unpriced)


def _fit_group(
    checkpoint: Checkpoint, dataset: Dataset, query: QueryVectors, read: NDArray[np.intp], group: list[int]
) -> list[AddedProfile]:
    """Profiles of the systems of one protocol, columns `group` of the folder, on its rows `read` (n,)."""
    score = dataset.score[read][:, group].astype(np.float64)
    reference, prior, inputs = _best_protocol(checkpoint, query, score, dataset.systems[group[0]].protocol)
    log_length = query_lengths(query, checkpoint, reference)
    found = []
    for at, column in enumerate(group):
        system, mine = dataset.systems[column], ~np.isnan(score[:, at])
        facts = dataset.models.get(system.model, ModelFacts(system.model))
        tokens = _output_tokens(dataset, facts, read[mine], column)
        fitted = fit_profile(inputs[mine], score[mine, at], _around(inputs, np.delete(score, at, axis=1), prior))
        own = log_length[mine], score[mine, at], dataset.input_tokens[read[mine]], tokens
        found.append(make_profile(system, facts, reference, fitted, prior, *own))
    return found


def _pooled(inputs: Array, score: Array, prior: Prior) -> FittedProfile:
    """The mean profile of the systems that scored (n, S) on queries of features (n, F)."""
    known = (~np.isnan(score)).sum(axis=1)
    return fit_profile(inputs, np.nansum(score, axis=1) / np.maximum(known, 1), prior.row, known.astype(np.float64))


def _around(inputs: Array, others: Array, prior: Prior) -> ProfilePrior:
    """The prior with its mean moved to the mean profile of the other new systems, with scores `others` (n, S - 1)."""
    if not others.shape[1]:
        return prior.row
    return ProfilePrior(_pooled(inputs, others, prior).row, prior.row.factor, prior.row.left_out)


def _best_protocol(
    checkpoint: Checkpoint, query: QueryVectors, score: Array, protocol: str
) -> tuple[str, Prior, Array]:
    """The reference protocol for `protocol`, its prior, and the features (n, F) under it."""
    known = [protocol] if protocol in checkpoint.protocols else checkpoint.protocols
    found = [(each, prior_for(checkpoint, each), query_features(query, checkpoint, each)) for each in known]
    if len(found) == 1:
        return found[0]
    return max(found, key=lambda each: _pooled(each[2], score, each[1]).log_evidence)


def _output_tokens(dataset: Dataset, facts: ModelFacts, rows: NDArray[np.intp], column: int) -> Array:
    """Tokens of the answers on `rows`, NaN where unknown.

    Where a cost is recorded, they are the cost divided by the model's price, so that predicted costs agree.
    """
    measured = np.where(dataset.measured[rows, column], dataset.output_tokens[rows, column].astype(np.float64), np.nan)
    if dataset.cost_usd is None or facts.input_usd_per_mtok is None or not facts.output_usd_per_mtok:
        return measured
    spent = 1e6 * dataset.cost_usd[rows, column].astype(np.float64)
    paid = np.maximum(spent - dataset.input_tokens[rows] * facts.input_usd_per_mtok, 0) / facts.output_usd_per_mtok
    return np.where(np.isnan(spent), measured, paid)


def _pool(
    dataset: Dataset, rows: NDArray[np.bool_], name: str, profiles: list[AddedProfile]
) -> tuple[Pool, tuple[str, ...]]:
    """A pool of the profiles with a price, including the scale of its dial, and the models without a price."""
    unpriced = tuple(each.facts.id for each in profiles if not each.facts.priced)
    pool = Pool(name, tuple(Candidate(each.facts, each.system) for each in profiles if each.facts.priced))
    outcomes = pool_outcomes(dataset, pool).take(rows)
    if len(outcomes.rows):
        best, cheapest = reference_models(outcomes, pool)
        mean = outcomes.realised_usd.mean(axis=0)
        span = float(mean[best] - mean[cheapest]) or float(np.ptp(mean))
        pool = replace(pool, cost_range_usd=span if span > 0 else None)
    return pool, unpriced
