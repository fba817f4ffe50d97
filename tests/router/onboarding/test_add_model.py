"""Onboarding one model: on a family of models whose truth is known, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from fixtures.onboarding_world import CHAT, EXAM, NEW, TEXTS, World

from router.checkpoint.storage import save_checkpoint
from router.errors import CheckpointError, PoolError, RouterError, UsageError
from router.network.vectors import QueryVectors
from router.onboarding.add_model import default_protocol, encode_queries, onboard, quality_deviation
from router.onboarding.graded_answers import make_answers
from router.onboarding.prior import prior_for
from router.onboarding.profile_fit import FittedProfile
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool
from router.routing.router import Router

UNPRICED = ModelFacts("new")
WEAK, STRONG = (-1.5, 1.5), (1.5, -1.0)  # ability and taste


def row(found) -> np.ndarray:
    return found.profile.row


# What is found


@pytest.mark.parametrize("kind", [WEAK, STRONG], ids=["weak", "strong"])
def test_more_answers_come_nearer_to_the_truth_than_few_and_few_than_none(onboarding_world: World, kind):
    world, true = onboarding_world, onboarding_world.row(*kind)
    loss = {
        n: np.mean([
            world.log_loss(true, row(onboard(world.checkpoint, UNPRICED, world.answers(true, n, seed))))
            for seed in range(6)
        ])
        for n in (5, 40, 200)
    }  # fmt: skip
    prior = world.log_loss(true, prior_for(world.checkpoint, "chat", UNPRICED).row.mean)
    assert prior > loss[5] > loss[40] > loss[200]
    assert loss[200] < prior / 8


def test_what_is_kept_of_the_answers_is_their_mean_score_and_lengths(onboarding_world: World):
    answers = make_answers(["a" * 8, "b" * 16, "c" * 24], [0.0, 0.5, 1.0], [10, 30, math.nan])
    profile = onboard(onboarding_world.checkpoint, NEW, answers).profile
    assert (profile.mean_score, profile.mean_input_tokens, profile.mean_output_tokens) == (0.5, 4.0, 20.0)
    assert (profile.answers, profile.reference_protocol, profile.system) == (3, "chat", System("new", "chat"))
    unknown = onboard(onboarding_world.checkpoint, NEW, make_answers(["a"], [1.0])).profile
    assert unknown.mean_output_tokens == pytest.approx(100)  # the known systems'
    assert unknown.log_tokens == pytest.approx(math.log(100))


def test_the_length_of_answers_sets_what_a_model_costs(onboarding_world: World):
    world = onboarding_world
    column = world.checkpoint.protocols.index("chat")
    factor = world.query.log_length[:, column].exp().double().numpy()
    answers = make_answers(TEXTS, np.ones(len(TEXTS)), 700 * factor)
    made = onboard(world.checkpoint, NEW, answers, pools=["both"]).checkpoint
    cost = Router(made).predict(TEXTS, "both").cost_usd[:, 2].double().numpy()
    realised = (np.array([len(text) / 4 for text in TEXTS]) * 0.5 + 700 * factor * 1.5) / 1e6
    assert cost == pytest.approx(realised, rel=0.03)


def test_it_becomes_less_unsure_with_every_answer(onboarding_world: World):
    found = [
        onboard(onboarding_world.checkpoint, UNPRICED, onboarding_world.answers(onboarding_world.row(*WEAK), n))
        for n in (2, 20, 200)
    ]
    deviations = [each.deviation for each in found]
    assert deviations == sorted(deviations, reverse=True) and deviations[2] < deviations[0] / 2


def test_the_deviation_of_a_quality_is_first_order():
    fitted = FittedProfile(np.array([0.0, 1.0]), np.diag([3.0, 4.0]), 0.0)
    seen = np.array([[1.0, 0.0], [1.0, 1.0]])
    high = 1 / (1 + np.exp(-1.0))
    assert quality_deviation(seen, fitted) == pytest.approx([3 * 0.25, 5 * high * (1 - high)])


def test_the_spread_that_is_kept_is_the_posteriors_covariance(onboarding_world: World):
    world = onboarding_world
    answers = world.answers(world.row(*STRONG), 30)
    found = onboard(world.checkpoint, NEW, answers, pools=["both"])
    seen = world.seen[[TEXTS.index(query) for query in answers.queries]]
    factor = found.profile.covariance_factor
    kept = quality_deviation(seen, FittedProfile(row(found), factor, 0.0))
    assert kept.mean() == pytest.approx(found.deviation, rel=1e-3)
    with torch.inference_mode():
        deviation = Router(found.checkpoint).candidates("both").deviation(world.query)
    assert deviation.shape == (len(TEXTS), 1)
    assert deviation[:, 0].double().numpy() == pytest.approx(np.linalg.norm(world.seen @ factor, axis=1), rel=1e-3)


def test_the_order_in_which_queries_are_read_does_not_count(onboarding_world: World):
    world = onboarding_world
    texts = ["two", "prove that two is the root of a prime", "python code"]
    together = encode_queries(world.checkpoint.encoder, world.checkpoint.network, texts)
    for at, text in enumerate(texts):
        alone: QueryVectors = encode_queries(world.checkpoint.encoder, world.checkpoint.network, [text])
        assert together.vector[at] == pytest.approx(alone.vector[0], abs=1e-4)


# What becomes of the checkpoint


def test_it_joins_the_pools_it_names_and_is_routed_to(onboarding_world: World):
    world = onboarding_world
    best = world.row(4.0, 0.0)
    found = onboard(world.checkpoint, NEW, world.answers(best, 200), pools=["both"])
    assert found.profile.pools == ("both",)
    router = Router(found.checkpoint)
    assert router.pools["both"].ids[-1] == "new"
    chosen = [decision.model for decision in router.route(TEXTS[:20], dial=0)]
    assert chosen.count("new") >= 15
    profile = router.profile("new")
    assert profile.rests_on == "mean of the 200 graded answers it was fitted from"
    assert router.profile("known-1").rests_on == "mean over its training queries"
    weak = onboard(world.checkpoint, NEW, world.answers(world.row(-5.0, 0.0), 200), pools=["both"])
    assert "new" not in {decision.model for decision in Router(weak.checkpoint).route(TEXTS[:20], dial=0)}


def test_the_given_checkpoint_is_left_as_it_was(onboarding_world: World):
    world = onboarding_world
    before = {name: tensor.clone() for name, tensor in world.checkpoint.network.state_dict().items()}
    made = onboard(world.checkpoint, NEW, world.answers(world.row(*WEAK), 5)).checkpoint
    assert world.checkpoint.added_models.profiles == ()
    assert made.network is world.checkpoint.network and made.encoder is world.checkpoint.encoder
    assert all(torch.equal(before[name], tensor) for name, tensor in made.network.state_dict().items())
    assert made.pools is world.checkpoint.pools and Router(made).pools["both"].ids == world.checkpoint.pools["both"].ids


def test_several_models_stand_in_the_order_they_came_and_one_does_not_move_another(onboarding_world: World):
    world = onboarding_world
    first = onboard(world.checkpoint, NEW, world.answers(world.row(*WEAK), 20))
    second = onboard(first.checkpoint, replace(NEW, id="newer"), world.answers(world.row(*STRONG), 20))
    alone = onboard(world.checkpoint, replace(NEW, id="newer"), world.answers(world.row(*STRONG), 20))
    assert [system.model for system in second.checkpoint.added_models.systems] == ["new", "newer"]
    assert second.checkpoint.added_models.profiles[0] is first.profile
    assert np.array_equal(second.profile.row, alone.profile.row)  # onboarded ones are no known systems to others


def test_a_trained_model_may_be_onboarded_under_another_protocol_and_is_then_no_part_of_its_prior(
    onboarding_world: World,
):
    world = onboarding_world
    found = onboard(world.checkpoint, ModelFacts("known-0"), world.answers(world.row(*WEAK), 5), protocol="exam")
    assert (found.profile.system.id, found.known) == ("known-0@exam", EXAM)
    checkpoint = world.checkpoint
    assert prior_for(checkpoint, "chat", ModelFacts("known-0")).known == CHAT - 1
    assert prior_for(checkpoint, "chat", ModelFacts("known-16")).known == CHAT  # known under `exam` only
    with pytest.raises(PoolError, match="known under several protocols"):
        Router(found.checkpoint).profile("known-0")


def test_by_default_a_model_is_like_most_of_the_default_pool(onboarding_world: World):
    world = onboarding_world
    assert default_protocol(world.checkpoint) == "chat"
    systems = world.checkpoint.systems
    members = tuple(Candidate(ModelFacts(s.model, 1.0, 1.0), s) for s in (systems[0], systems[-1], systems[-2]))
    mixed = replace(world.checkpoint, pools={"both": Pool("both", members)})
    assert default_protocol(mixed) == "exam"
    tied = replace(world.checkpoint, pools={"both": Pool("both", members[:2])})
    assert default_protocol(tied) == "chat"
    priors = replace(world.checkpoint, pools={"both": Pool("both", (Candidate(NEW),))})
    assert default_protocol(priors) == "chat"


# What is refused


def test_there_must_be_something_to_fit(onboarding_world: World):
    for nothing in ({}, None):
        with pytest.raises(UsageError, match="give graded answers, benchmark scores, or both"):
            onboard(onboarding_world.checkpoint, NEW, benchmarks=nothing)


def test_no_answers_are_nothing_to_fit(onboarding_world: World):
    with pytest.raises(RouterError, match="answer"):
        onboard(onboarding_world.checkpoint, NEW, make_answers([], []))


def test_a_name_that_was_trained_keeps_its_profile(onboarding_world: World):
    answers = onboarding_world.answers(onboarding_world.row(*WEAK), 5)
    for replace_old in (False, True):
        with pytest.raises(UsageError, match="known-0@chat has a profile from training already, which saw more"):
            onboard(onboarding_world.checkpoint, ModelFacts("known-0"), answers, replace_old=replace_old)


def test_an_unknown_protocol_names_the_known(onboarding_world: World):
    with pytest.raises(UsageError, match="unknown protocol 'exma'; known: exam, chat"):
        onboard(
            onboarding_world.checkpoint, NEW, onboarding_world.answers(onboarding_world.row(*WEAK), 5), protocol="exma"
        )


def test_a_pool_that_it_cannot_join_is_said_before_anything_is_read(onboarding_world: World, monkeypatch):
    from router.onboarding import add_model as onboarding

    world = onboarding_world
    answers = world.answers(world.row(*WEAK), 5)
    monkeypatch.setattr(onboarding, "encode_queries", lambda *_: pytest.fail("queries were read"))
    with pytest.raises(UsageError, match="unknown pool 'bth'; known: both"):
        onboard(world.checkpoint, NEW, answers, pools=["bth"])
    with pytest.raises(UsageError, match="new cannot join pool 'both' without prices: give both, or only make its"):
        onboard(world.checkpoint, UNPRICED, answers, pools=["both"])
    with pytest.raises(UsageError, match="without prices"):
        onboard(world.checkpoint, ModelFacts("new", 0.5), answers, pools=["both"])
    member = world.checkpoint.pools["both"].ids[0]
    with pytest.raises(UsageError, match=f"pool 'both' has a model '{member}' already: give the new one another name"):
        onboard(world.checkpoint, ModelFacts(member, 1.0, 1.0), answers, protocol="exam", pools=["both"])


def test_a_pool_has_no_two_models_of_one_name_though_both_were_onboarded(onboarding_world: World):
    world = onboarding_world
    made = onboard(world.checkpoint, NEW, world.answers(world.row(*WEAK), 5), pools=["both"]).checkpoint
    with pytest.raises(UsageError, match="pool 'both' has a model 'new' already"):
        onboard(made, NEW, world.answers(world.row(*WEAK), 5), protocol="exam", pools=["both"])


def test_an_onboarded_pool_never_takes_the_place_of_a_trained_one(onboarding_world: World, tmp_path):
    world = onboarding_world
    made = onboard(world.checkpoint, NEW, world.answers(world.row(*WEAK), 5)).checkpoint
    taken = Pool("both", (Candidate(NEW, made.added_models.systems[0]),))
    with pytest.raises(CheckpointError, match="onboarded pool 'both' has the name of a trained one"):
        save_checkpoint(replace(made, added_models=replace(made.added_models, pools=(taken,))), tmp_path / "router")


@pytest.mark.parametrize("attitude", ["optimistic", "neutral", "pessimistic"])
def test_an_index_leaves_every_decision_as_it_is_under_each_attitude(onboarding_world: World, attitude, monkeypatch):
    monkeypatch.setattr("router.index.shortlist.PROPOSED", 2)  # of the pool of all models, so that the index matters
    monkeypatch.setattr("router.index.shortlist.PROPOSED_PER_TOP", 1)
    monkeypatch.setattr("router.index.shortlist.INDEX_FROM", 2)
    world = onboarding_world
    made = onboard(world.checkpoint, NEW, world.answers(world.row(*STRONG), 3)).checkpoint
    everyone = tuple(Candidate(ModelFacts(s.model, 0.5, 1.5), s) for s in made.systems if s.protocol == "chat")
    pool = Pool("all", (*everyone, Candidate(NEW, made.added_models.systems[0])), 0.001)
    exact, indexed = Router(made), Router(made, index="flat")
    options = {"pool": pool, "dial": 1.0, "top": 2, "attitude": attitude, "batch_size": 1}
    for text in TEXTS[:30]:
        one, other = exact.route(text, **options), indexed.route(text, **options)
        assert (one.model, one.quality) == (other.model, pytest.approx(other.quality, abs=1e-6))


def test_of_a_few_candidates_those_that_were_unsure_are_unsure(onboarding_world: World):
    world = onboarding_world
    made = onboard(world.checkpoint, NEW, world.answers(world.row(*WEAK), 5), pools=["both"]).checkpoint
    router = Router(made)
    candidates = router.candidates()
    query = router.predict(TEXTS[:4]).query
    taken = candidates.take(np.array([2, 0]))
    assert (candidates.unsure, taken.unsure) == ((2,), (0,))
    assert torch.equal(taken.quality(query, 1.0), candidates.quality(query, 1.0)[:, [2, 0]])
    assert candidates.take(slice(0, 2)).covariance_factor is None and candidates.take(slice(0, 2)).unsure == ()


def test_each_profile_is_shown_with_the_facts_that_were_given_for_it(onboarding_world: World):
    world, answers = onboarding_world, onboarding_world.answers(onboarding_world.row(*WEAK), 5)
    known = next(s for s in world.checkpoint.systems if s.protocol == "chat")
    assert System(known.model, "exam") not in world.checkpoint.systems
    made = onboard(world.checkpoint, ModelFacts(known.model, 99.0, 99.0), answers, protocol="exam").checkpoint
    assert Router(made).profile(f"{known.model}@exam").facts.input_usd_per_mtok == 99.0
    assert Router(made).profile(known.id).facts.input_usd_per_mtok != 99.0


@pytest.mark.parametrize("name", ["", "  ", " a", "a\nb", "a*", "x,y", "[a]"])
def test_a_name_that_cannot_be_typed_again_is_refused(onboarding_world: World, name):
    answers = onboarding_world.answers(onboarding_world.row(*WEAK), 5)
    with pytest.raises(UsageError, match="a model's name must be printable"):
        onboard(onboarding_world.checkpoint, ModelFacts(name, 1.0, 1.0), answers)


def test_easy_answers_do_not_set_the_scale_of_a_dial(onboarding_world: World):
    world = onboarding_world
    dear = ModelFacts("dear", 500.0, 500.0)
    easy = make_answers(TEXTS[:8], [1.0] * 8, [50] * 8)
    made = onboard(world.checkpoint, dear, easy).checkpoint
    known = tuple(Candidate(ModelFacts(s.model, 0.5, 1.5), s) for s in made.systems if s.protocol == "chat")[:3]
    known = (known[0], replace(known[1], facts=replace(known[1].facts, input_usd_per_mtok=1.0)), *known[2:])
    without, with_it = Pool("without", known), Pool("with", (*known, Candidate(dear, made.added_models.systems[0])))
    router = Router(made)
    assert router.candidates(with_it).cost_range_usd == router.candidates(without).cost_range_usd
