"""Drawn pools: reproducible, spread as the learned models are, adapters nearer to their base than to others."""

import numpy as np
import pytest
import torch

from router import Router
from router.errors import UsageError
from scripts.bench.large_pools_data import Distribution, large_checkpoint, learned_distribution, siblings

NAMES = ["alpha-7b", "alpha-70b", "beta-large", "beta-small", "gamma"]


@pytest.fixture
def distribution():
    random = np.random.default_rng(3)
    families = random.normal(size=(3, 6))[[0, 0, 1, 1, 2]]
    return Distribution.of(families + 0.1 * random.normal(size=(5, 6)), NAMES)


def test_siblings_share_the_start_of_their_names():
    assert siblings(NAMES) == [(0, 1), (2, 3)]
    assert siblings(["a", "b"]) == []


def test_a_seed_gives_the_same_pool_and_another_seed_another(distribution):
    rows, family = distribution.draw(300, seed=1)
    again, same = distribution.draw(300, seed=1)
    assert np.array_equal(rows, again) and np.array_equal(family, same)
    assert not np.array_equal(rows, distribution.draw(300, seed=2)[0])
    assert rows.shape == (300, 6) and family.max() + 1 == round(300 / 31)


def test_adapters_stand_nearer_to_each_other_than_to_other_families(distribution):
    rows, family = distribution.draw(2000, seed=1)
    centres = np.stack([rows[family == each].mean(axis=0) for each in range(family.max() + 1)])
    within = np.square(rows - centres[family])[:, :4].sum(axis=1).mean()
    assert within < 0.3 * np.square(rows - rows.mean(axis=0))[:, :4].sum(axis=1).mean()


def test_drawn_rows_have_the_learned_mean_spread_and_price_range(distribution):
    rows, _ = distribution.draw(40_000, seed=1)
    between, within = (np.square(part).sum(axis=0) for part in (distribution.between, distribution.within))
    assert rows.mean(axis=0)[:4] == pytest.approx(distribution.mean[:4], abs=0.15)
    assert rows.var(axis=0)[:4] == pytest.approx((between + within)[:4], rel=0.3)  # few families are most models
    assert (rows[:, -2:] >= distribution.least - 1e-5).all() and (rows[:, -2:] <= distribution.most + 1e-5).all()


def test_one_model_is_no_distribution():
    with pytest.raises(UsageError, match="at least 2 priced models, got 1"):
        Distribution.of(np.zeros((1, 6)), ["a"])


@pytest.fixture
def checkpoint(tiny_checkpoint):
    """Both models under one protocol, with lengths that somebody learned."""
    from copy import deepcopy
    from dataclasses import replace

    from router.pools.pool import Pool

    changed = deepcopy(tiny_checkpoint)
    with torch.no_grad():
        changed.network.profiles.log_tokens.fill_(4.0)
    chat = Pool("chat", tuple(tiny_checkpoint.pools["odd"].candidates[:2]), 0.01)
    return replace(changed, pools={"chat": chat, "odd": tiny_checkpoint.pools["both"]}, default_pool="chat")


def test_a_large_checkpoint_routes_to_drawn_models_in_the_span_of_the_learned(checkpoint):
    large = large_checkpoint(checkpoint, 200, seed=4)
    router = Router(large)
    pool = router.pool()
    assert len(pool.candidates) == 200 == len(set(pool.ids)) and pool.cost_range_usd == 0.01
    profile = router.candidates().profile
    learned = checkpoint.network.profiles.matrix()[:2]
    difference = (learned[0] - learned[1]) / (learned[0] - learned[1]).norm()
    apart = profile - learned.mean(dim=0)
    assert (apart - (apart @ difference)[:, None] * difference).norm(dim=1).max() < 1e-3 * apart.norm(dim=1).max()
    assert router.route("prove that two is prime").model in pool.ids
    learned_mean = learned_distribution(checkpoint, "chat").mean
    assert learned_mean[: profile.shape[1]] == pytest.approx(learned.mean(dim=0).tolist(), abs=1e-5)
    assert learned_mean[-3:] == pytest.approx([4.0, np.log([2.5, 0.1]).mean(), np.log([10.0, 0.4]).mean()], abs=1e-5)


def test_a_pool_of_several_protocols_is_refused(checkpoint):
    with pytest.raises(UsageError, match=r"a pool of one protocol is drawn, but both has \['chat', 'exam'\]"):
        large_checkpoint(checkpoint, 10, pool="odd")
