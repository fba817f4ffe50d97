"""Everything that can be routed to: the systems a checkpoint was trained on and, behind them, those onboarded since."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.checkpoint.added_models import extended, with_members
from router.checkpoint.checkpoint import Checkpoint
from router.network.vectors import LearnedProfiles
from router.pools.models import ModelFacts, System
from router.pools.pool import Pool


@dataclass(frozen=True, eq=False)
class Roster:
    """A checkpoint's trained and onboarded systems as one. Axes: S systems."""

    learned: LearnedProfiles
    systems: tuple[System, ...]  # (S,) in the order of the learned rows
    models: dict[str, ModelFacts]
    pools: dict[str, Pool]
    covariance_factors: dict[System, NDArray[np.float32]]  # how unsure onboarded rows are, see `OnboardedProfile`

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Roster:
        """The roster of a checkpoint, its arrays those of the network."""
        onboarded = checkpoint.onboarded
        like = [checkpoint.protocols.index(profile.like) for profile in onboarded.profiles]
        return cls(
            extended(checkpoint.network.learned, onboarded.profiles, like),
            checkpoint.systems + onboarded.systems,
            {profile.system.model: profile.facts for profile in onboarded.profiles} | checkpoint.models,
            with_members(checkpoint.pools, onboarded),
            {profile.system: profile.covariance_factor for profile in onboarded.profiles},
        )
