"""The prior of a new model, on a family of models whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from fixtures.onboarding_world import CHAT, NEW, TEXTS, World, published

from router.checkpoint.benchmark_scores import FEWEST
from router.checkpoint.checkpoint import Checkpoint
from router.errors import UsageError
from router.onboarding.add_model import onboard
from router.onboarding.prior import prior_for
from router.pools.models import ModelFacts
from router.pools.pool import Candidate, Pool
from router.routing.router import Router

UNPRICED = ModelFacts("new")
WEAK, STRONG = (-1.5, 1.5), (1.5, -1.0)  # ability and taste


def row(found) -> np.ndarray:
    return found.profile.row


def test_a_price_or_a_benchmark_tells_of_the_ability_that_it_hangs_on(onboarding_world: World):
    world = onboarding_world
    mean = prior_for(world.checkpoint, "chat").row.mean
    for ability in (-1.5, -0.7, 0.7, 1.5):
        true = world.row(ability, 0.0)
        scored = onboard(world.checkpoint, UNPRICED, benchmarks={"arena hard": published(ability)})
        priced = prior_for(world.checkpoint, "chat", replace(NEW, output_usd_per_mtok=math.exp(ability)))
        assert world.log_loss(true, row(scored)) < world.log_loss(true, mean) / 3
        assert world.log_loss(true, priced.row.mean) < world.log_loss(true, mean) / 3
        assert (scored.side, priced.side, scored.known) == (("arena hard",), ("price",), CHAT)
        assert scored.prior_error < scored.blind_error / 3
        assert scored.profile.mean_score == pytest.approx(published(ability), abs=0.1)
        assert math.isnan(scored.deviation) and scored.profile.answers == 0
        assert scored.profile.rests_on == "expected from arena hard"


def test_a_benchmark_helps_where_answers_are_few(onboarding_world: World):
    world = onboarding_world
    blind, informed = [], []
    for seed in range(6):
        answers = world.answers(world.row(*WEAK), 5, seed)
        blind.append(world.log_loss(world.row(*WEAK), row(onboard(world.checkpoint, UNPRICED, answers))))
        both = onboard(world.checkpoint, UNPRICED, answers, benchmarks={"arena-hard": published(-1.5)})
        informed.append(world.log_loss(world.row(*WEAK), row(both)))
        assert both.profile.rests_on == "mean of the 5 graded answers it was fitted from and arena-hard"
    assert np.mean(informed) < np.mean(blind)


def test_prices_that_too_few_known_models_have_are_left_out_of_account(onboarding_world: World):
    world = onboarding_world
    assert prior_for(world.checkpoint, "exam", NEW).side == ()  # three known
    assert prior_for(world.checkpoint, "chat", NEW).side == ("price",)
    assert prior_for(world.checkpoint, "chat", ModelFacts("new", 0.0, 0.0)).side == ()  # free: its price tells nothing
    facts = {name: ModelFacts(name) for name in world.checkpoint.models}
    found = prior_for(replace(world.checkpoint, models=facts), "chat", NEW)
    assert found.side == () and found.known == CHAT and found.error == found.blind
    assert np.array_equal(found.row.mean, prior_for(world.checkpoint, "chat").row.mean)


def test_what_is_guessed_of_a_new_model_does_not_move_the_prior_of_another(onboarding_world: World):
    world = onboarding_world
    unknown = Pool("prior", (Candidate(ModelFacts("unknown", 0.5, 1.5)),))
    before = Router(world.checkpoint).predict(TEXTS[:5], unknown).quality
    made = onboard(world.checkpoint, NEW, world.answers(world.row(*STRONG), 200), pools=["both"]).checkpoint
    assert torch.equal(Router(made).predict(TEXTS[:5], unknown).quality, before)


def test_a_protocol_without_a_known_system_has_no_prior(onboarding_world: World):
    lonely: Checkpoint = replace(onboarding_world.checkpoint, protocols=("chat", "exam", "odd"))
    with pytest.raises(UsageError, match="no trained system under protocol 'odd' to draw a prior from; name another"):
        onboard(lonely, NEW, onboarding_world.answers(onboarding_world.row(*WEAK), 5), protocol="odd")


def test_benchmarks_that_too_few_known_models_have_are_counted(onboarding_world: World):
    world = onboarding_world
    message = (
        rf"only 3 known models under 'chat' have all of these benchmarks \(arena-hard: {CHAT}, rare: 3\); at least "
        f"{FEWEST} must: leave one out"
    )
    with pytest.raises(UsageError, match=message):
        onboard(world.checkpoint, NEW, benchmarks={"arena-hard": 0.5, "rare": 0.5})
    with pytest.raises(UsageError, match=r"only 0 known models under 'exam' .*\(arena-hard: 0\)"):
        onboard(world.checkpoint, NEW, benchmarks={"arena-hard": 0.5}, protocol="exam")
    with pytest.raises(UsageError, match="no known model has a score on benchmark 'gsm8k'; known: Arena-Hard, rare"):
        onboard(world.checkpoint, NEW, benchmarks={"gsm8k": 0.5})


def test_a_score_beyond_all_known_ones_is_warned_of(onboarding_world: World, caplog):
    checkpoint = onboarding_world.checkpoint
    name = checkpoint.benchmarks.names[0]
    onboard(checkpoint, NEW, benchmarks={name: 0.0})
    assert f"{name}=0 lies beyond what the known models scored" in caplog.text
    caplog.clear()
    onboard(checkpoint, NEW, benchmarks={name: 0.5})
    assert not caplog.text
