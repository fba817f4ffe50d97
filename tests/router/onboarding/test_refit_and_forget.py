"""Added models that are fitted again or removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fixtures.onboarding_world import NEW, TEXTS, World

from router.errors import PoolError, UsageError
from router.onboarding.add_model import forget, onboard
from router.policy.goals import measure_dials
from router.pools.models import System
from router.routing.router import Router

WEAK, STRONG = (-1.5, 1.5), (1.5, -1.0)  # ability and taste


def row(found) -> np.ndarray:
    return found.profile.row


def test_a_model_is_fitted_anew_only_when_asked_for(onboarding_world: World):
    world = onboarding_world
    first = onboard(world.checkpoint, NEW, world.answers(world.row(*WEAK), 20), pools=["both"])
    with pytest.raises(UsageError, match=r"onboarded already: new@chat; --replace \(replace_old\) fits anew"):
        onboard(first.checkpoint, NEW, world.answers(world.row(*WEAK), 100))
    again = onboard(first.checkpoint, NEW, world.answers(world.row(*WEAK), 100), replace_old=True)
    assert [each.answers for each in again.checkpoint.added_models.profiles] == [100]
    direct = onboard(world.checkpoint, NEW, world.answers(world.row(*WEAK), 100))
    assert np.array_equal(again.profile.row, direct.profile.row)
    assert Router(again.checkpoint).pools["both"].ids == (*world.checkpoint.pools["both"].ids, NEW.id)  # where it was


def test_fitted_anew_a_model_leaves_no_dial_table_that_was_measured_with_its_old_profile(onboarding_world: World):
    world = onboarding_world
    first = onboard(world.checkpoint, NEW, world.answers(world.row(*WEAK), 5), pools=["both"]).checkpoint
    router = Router(first)
    seen, span = router.predict(TEXTS[:40]), router.candidates().cost_range_usd
    quality, cost = seen.quality.double().numpy(), seen.cost_usd.double().numpy()
    measured = replace(first, dial_tables={"both": measure_dials(quality, cost, quality, router.pool(), span)})
    assert Router(measured).dial_for(quality_at_least=0.0).dial == 10
    answers = world.answers(world.row(*STRONG), 200)
    again = onboard(measured, NEW, answers, pools=["both"], replace_old=True).checkpoint
    with pytest.raises(PoolError, match="pool 'both' has no dial table"):
        Router(again).dial_for(quality_at_least=0.0)


def test_fitted_anew_a_model_stays_in_the_pools_it_is_in(onboarding_world: World):
    world = onboarding_world
    answers = world.answers(world.row(*WEAK), 5)
    made = onboard(world.checkpoint, NEW, answers, pools=["both"]).checkpoint
    again = onboard(made, NEW, world.answers(world.row(*STRONG), 9), replace_old=True)
    assert again.profile.pools == ("both",) and Router(again.checkpoint).pools["both"].ids[-1] == NEW.id
    assert onboard(made, NEW, answers, pools=[], replace_old=True).profile.pools == ()
    assert onboard(world.checkpoint, NEW, answers).profile.pools == ()


def test_fitted_anew_under_another_protocol_the_old_profile_goes_and_the_pools_stay(onboarding_world: World):
    world = onboarding_world
    made = onboard(world.checkpoint, NEW, world.answers(world.row(*WEAK), 5), pools=["both"]).checkpoint
    again = onboard(made, NEW, world.answers(world.row(*STRONG), 9), protocol="exam", replace_old=True).checkpoint
    assert again.added_models.systems == (System(NEW.id, "exam"),)
    assert Router(again).pools["both"].candidates[-1].system == System(NEW.id, "exam")


@pytest.mark.parametrize("name", ["new", "new@chat"])
def test_an_onboarded_model_is_forgotten_by_name_or_id(onboarding_world: World, name):
    world = onboarding_world
    made = onboard(world.checkpoint, NEW, world.answers(world.row(*WEAK), 5), pools=["both"]).checkpoint
    made = onboard(made, replace(NEW, id="other"), world.answers(world.row(*WEAK), 5), pools=["both"]).checkpoint
    left = forget(made, name)
    assert [system.id for system in left.added_models.systems] == ["other@chat"]
    assert Router(left).pools["both"].ids[-1] == "other"
    assert forget(left, "other").added_models.profiles == ()


def test_only_the_onboarded_can_be_forgotten(onboarding_world: World):
    world = onboarding_world
    with pytest.raises(PoolError, match=r"'new' was not onboarded; no model was$"):
        forget(world.checkpoint, "new")
    made = onboard(world.checkpoint, NEW, world.answers(world.row(*WEAK), 5)).checkpoint
    with pytest.raises(PoolError, match="'newt' was not onboarded; known: new@chat"):
        forget(made, "newt")
    for name in ("known-0", "known-0@chat"):
        with pytest.raises(PoolError, match=f"'{name}' was trained with the router and cannot be removed"):
            forget(made, name)


def test_a_name_that_was_onboarded_twice_is_forgotten_by_id_alone(onboarding_world: World):
    world, answers = onboarding_world, onboarding_world.answers(onboarding_world.row(*WEAK), 5)
    made = onboard(world.checkpoint, NEW, answers).checkpoint
    made = onboard(made, NEW, answers, protocol="exam").checkpoint
    with pytest.raises(PoolError, match="onboarded several times: name one of new@chat, new@exam"):
        forget(made, NEW.id)
    assert forget(made, "new@exam").added_models.systems == (System(NEW.id, "chat"),)
