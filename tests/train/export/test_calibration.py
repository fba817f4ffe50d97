import numpy as np
import pytest

from train.export.calibration import calibrate, fit_affine


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


def pull(features, score, theta, prior, shrinkage):
    """Gradient of the negative log posterior: 0 where the fit belongs. A scale is drawn four times as hard."""
    features = np.column_stack([features, np.ones(len(score))])
    precision = shrinkage / 4 * np.array([4.0, 1.0])
    return features.T @ (sigmoid(features @ theta) - score) + precision * (theta - np.array(prior))


@pytest.mark.parametrize("shrinkage", [None, 1.0, 40.0])
def test_the_fit_is_where_rows_and_prior_pull_alike(shrinkage):
    generator = np.random.default_rng(0)
    logits, prior = generator.normal(size=200), (0.9, -0.2)
    score = sigmoid(0.4 * logits + 0.9 + generator.normal(size=200))
    theta = fit_affine(logits, score, prior) if shrinkage is None else fit_affine(logits, score, prior, shrinkage)
    shrinkage = shrinkage or 0.0
    assert theta[0] > 0.05
    assert np.abs(pull(logits, score, theta, prior, shrinkage)).max() < 1e-5
    assert np.abs(pull(logits, score, np.array(prior), prior, shrinkage)).max() > 1  # it had somewhere to go


def test_logits_of_any_size_are_fitted_without_a_warning():
    logit = np.array([-1e4, -800.0, 0.0, 800.0, 1e4])
    assert np.isfinite(fit_affine(logit, np.array([0.0, 0, 1, 1, 1]), (1.0, 0.0), 1.0)).all()


def test_a_scale_never_turns_an_order_around():
    logit = np.linspace(-2, 2, 101)
    assert fit_affine(logit, sigmoid(-2 * logit))[0] == 0.05


def test_a_system_is_drawn_to_its_protocols_map_as_by_five_thousand_rows_of_it():
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(4000, 4))
    true = sigmoid(logits * [0.4, 0.7, 1.6, 0.9] + [0.3, -0.2, 1.0, -1.0])
    scores = (generator.uniform(size=logits.shape) < true).astype(float)
    scores[500:, 0] = np.nan
    scale, shift = calibrate(logits, scores, np.array([3, 3, 7, 9]))
    assert scale.shape == shift.shape == (4,)
    seen = ~np.isnan(scores[:, :2])
    shared = fit_affine(logits[:, :2][seen], scores[:, :2][seen], shrinkage=1.0)
    for column, rows in ((0, slice(500)), (1, slice(None))):
        theta = np.array([scale[column], shift[column]])
        assert np.abs(pull(logits[rows, column], scores[rows, column], theta, shared, 5000.0)).max() < 2e-6
    alone = fit_affine(logits[:, 2], scores[:, 2], shrinkage=1.0)
    assert (scale[2], shift[2]) == pytest.approx(tuple(alone), abs=1e-3)  # of a protocol of its own


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
