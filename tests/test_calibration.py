import numpy as np
import pytest

from router.calibration import calibrate, fit_affine


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_without_rows_the_prior_comes_back():
    assert fit_affine(np.array([]), np.array([]), (0.8, -0.2), 5.0).tolist() == [0.8, -0.2]


def test_a_planted_affine_map_is_recovered_from_soft_labels():
    logit = np.linspace(-3, 3, 2001)
    scale, shift = fit_affine(logit, sigmoid(0.5 * logit - 0.7))
    assert scale == pytest.approx(0.5, abs=1e-3)
    assert shift == pytest.approx(-0.7, abs=1e-3)


def test_few_rows_stay_near_the_prior_and_many_leave_it():
    logit = np.zeros(5)
    few = fit_affine(logit, np.ones(5), (1.0, 0.0), 20.0)
    many = fit_affine(np.zeros(5000), np.ones(5000), (1.0, 0.0), 20.0)
    assert 0 < few[1] < 1.5 < many[1]


def test_a_scale_never_turns_an_order_around():
    logit = np.linspace(-2, 2, 101)
    assert fit_affine(logit, sigmoid(-2 * logit))[0] > 0


def test_a_slope_is_drawn_to_its_prior_four_times_as_hard_as_a_shift():
    logit, prior, shrinkage = np.linspace(-2, 2, 41), np.array([1.0, 0.0]), 40.0
    score = sigmoid(0.4 * logit - 0.8)
    found = fit_affine(logit, score, prior, shrinkage)
    # Where the posterior is greatest, what the rows pull equals what the prior holds: its precision times the way.
    pull = np.array([logit, np.ones(41)]) @ (score - sigmoid(found[0] * logit + found[1]))
    assert pull / (found - prior) == pytest.approx(0.25 * shrinkage * np.array([4.0, 1.0]), rel=1e-4)


def test_systems_without_rows_take_their_protocols_map():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3000, 5))
    scores = (generator.uniform(size=logits.shape) < sigmoid(0.5 * logits + 0.4)).astype(float)
    scores[:, 2] = np.nan  # of protocol 0, unseen
    scores[:, 4] = np.nan  # protocol 1, unseen as a whole
    scale, shift = calibrate(logits, scores, np.array([0, 0, 0, 1, 1]))
    np.testing.assert_allclose(scale[:3], 0.5, atol=0.12)
    np.testing.assert_allclose(shift[:3], 0.4, atol=0.12)
    scale, shift = calibrate(logits[:, 4:], scores[:, 4:], np.array([1]))
    assert (scale[0], shift[0]) == (pytest.approx(1.0), pytest.approx(0.0))
