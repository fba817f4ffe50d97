"""The dial at which choices are compared, and what is counted there."""

import numpy as np
import pytest
from fixtures.tiny_checkpoint import make_steerable_router

from router.evaluation.pool_report import PoolOutcomes
from train.studies.robustness.flips import (
    SHARE_LIMIT,
    Sample,
    choices,
    cost_shift,
    flip_figures,
    greatest_share,
    shared_dial,
)
from train.studies.robustness.rewording import PERTURBATIONS

TEXTS = [f"{a} {b} {c}?" for a in ("prove", "write", "who") for b in ("that", "code", "is") for c in ("python", "root")]
RANGE = 1.0


@pytest.fixture(scope="module")
def router(tiny_checkpoint):
    return make_steerable_router(tiny_checkpoint, TEXTS)


@pytest.fixture(scope="module")
def sample():
    generator = np.random.default_rng(0)
    score = generator.integers(2, size=(len(TEXTS), 2)).astype(float)
    realised = np.tile([3.0, 1.0], (len(TEXTS), 1))
    return Sample(TEXTS, PoolOutcomes(np.arange(len(TEXTS)), score, realised), 0, 1, TEXTS)


def test_choices_follow_the_dial_and_ties_go_to_the_cheaper():
    quality, cost = np.array([[0.9, 0.5], [0.7, 0.7]]), np.array([[0.02, 0.01], [0.02, 0.01]])
    assert choices(quality, cost, 0.0, RANGE).tolist() == [0, 1]
    assert choices(quality, cost, 10.0, RANGE).tolist() == [1, 1]


def test_the_shared_dial_is_the_nearest_to_the_default_where_no_model_takes_too_much():
    # The lead of the dear model is 1e-3 x 10^(t/2) x (cost 1) at dials t of about 4 to 7: half have left it at 5 to 6.
    lead = 10 ** (-3 + np.array([4.1, 5.1, 6.1, 7.1]) / 2)
    quality, cost = np.stack([0.5 + lead / 2, 0.5 - lead / 2], axis=1), np.tile([2.0, 1.0], (4, 1))
    dial = shared_dial(quality, cost, RANGE)
    assert dial == 5.25
    assert greatest_share(choices(quality, cost, dial, RANGE)) == 0.5 <= SHARE_LIMIT
    assert greatest_share(choices(quality, cost, dial - 0.25, RANGE)) == 0.75


def test_where_no_dial_shares_the_calls_it_is_the_one_that_comes_nearest():
    quality, cost = np.tile([0.9, 0.5], (5, 1)), np.tile([1.0, 1.0], (5, 1))
    assert greatest_share(choices(quality, cost, shared_dial(quality, cost, RANGE), RANGE)) == 1.0


def test_a_cost_shift_counts_changed_choices_only():
    cost = np.array([[1.0, 5.0], [1.0, 5.0], [2.0, 4.0], [2.0, 4.0]])
    before, after = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1])
    assert cost_shift(before, after, cost, 2.0) == pytest.approx(2.0 / 4 / 2.0)
    assert cost_shift(after, before, cost, 2.0) == pytest.approx(-0.25)


def test_case_flips_nothing_for_an_uncased_encoder_and_typos_do(router, sample):
    figures = flip_figures(router, router.pool("both"), sample)
    by_name = figures["perturbations"]
    assert by_name.keys() == PERTURBATIONS.keys()
    assert figures["n"] == len(TEXTS) and 0.5 <= figures["greatest_share"] <= SHARE_LIMIT
    for name in ("upper case", "lower case"):
        assert by_name[name] == {
            "unchanged": 1.0, "predicted_cost_shift": 0.0, "realised_cost_shift": 0.0, "aiq_change": 0.0,
        }  # fmt: skip
    assert flip_figures(router, router.pool("both"), sample) == figures
    assert by_name["typos"]["unchanged"] < 1


def test_the_realised_shift_is_the_balance_of_moves_between_two_models(router, sample):
    pool, dial = router.pool("both"), 0.0
    figures = flip_figures(router, pool, sample, dial)
    assert figures["dial"] == dial
    for each in figures["perturbations"].values():
        moves = each["realised_cost_shift"] * 0.25 / 2.0 * len(TEXTS)  # range .25 USD, a move costs 2 USD
        assert moves == pytest.approx(round(moves)) and abs(moves) <= (1 - each["unchanged"]) * len(TEXTS) + 1e-9
