"""Hand-computed values of every metric, and two controls: a constant router and a shuffled one."""

import math

import numpy as np
import pytest

from router.evaluation import metrics


def test_the_curve_has_zero_and_a_hundred_log_spaced_weights():
    assert len(metrics.CURVE_WEIGHTS) == 101
    assert metrics.CURVE_WEIGHTS[0] == 0
    assert metrics.CURVE_WEIGHTS[1] == pytest.approx(1e-3)
    assert metrics.CURVE_WEIGHTS[-1] == pytest.approx(1e2)


def test_the_hull_drops_dominated_and_concave_points():
    cost = np.array([1.0, 2.0, 3.0, 4.0, 1.0])
    quality = np.array([0.2, 0.3, 0.8, 0.7, 0.1])
    hull = metrics.upper_hull(cost, quality)
    assert hull.cost.tolist() == [1.0, 3.0]  # (2, .3) lies below the chord, (4, .7) is dominated, (1, .1) too
    assert hull.quality.tolist() == [0.2, 0.8]


def test_the_hull_keeps_a_point_above_the_chord():
    hull = metrics.upper_hull(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.8, 1.0]))
    assert hull.cost.tolist() == [0.0, 1.0, 2.0]


def test_heights_interpolate_and_stay_flat_to_the_right():
    hull = metrics.Hull(np.array([1.0, 3.0]), np.array([0.2, 0.8]))
    assert hull.height(2.0) == pytest.approx(0.5)
    assert hull.height(9.0) == 0.8
    assert hull.height(0.5) is None
    assert hull.cost_of(0.5) == pytest.approx(2.0)
    assert hull.cost_of(0.9) is None
    assert hull.cost_of(0.1) == 1.0


def test_mean_height_is_the_area_over_the_range():
    hull = metrics.Hull(np.array([1.0, 3.0]), np.array([0.2, 0.8]))
    assert hull.mean_height(1.0, 3.0) == pytest.approx(0.5)
    assert hull.mean_height(1.0, 5.0) == pytest.approx((2 * 0.5 + 2 * 0.8) / 4)
    assert hull.mean_height(2.0, 2.0) == pytest.approx(0.5)


def test_mean_height_on_a_log_axis_integrates_each_segment():
    hull = metrics.Hull(np.array([1.0, 3.0]), np.array([0.2, 0.8]))
    # quality = .3 cost - .1 on [1, 3]: the integral of (.3 c - .1) / c is .3 * 2 - .1 ln 3; flat .8 on [3, 9].
    expected = (0.6 - 0.1 * math.log(3) + 0.8 * math.log(3)) / math.log(9)
    assert hull.mean_height(1.0, 9.0, log_cost=True) == pytest.approx(expected)


def test_a_log_axis_refuses_a_free_model():
    with pytest.raises(ValueError, match="costs above 0"):
        metrics.Hull(np.array([0.0, 1.0]), np.array([0.0, 1.0])).mean_height(0.0, 1.0, log_cost=True)


def test_choices_weigh_cost_and_take_the_first_on_a_tie():
    quality, cost = np.array([[0.9, 0.8, 0.8]]), np.array([[3.0, 1.0, 1.0]])
    assert metrics.choose(quality, cost, 0.0).tolist() == [0]
    assert metrics.choose(quality, cost, 0.1).tolist() == [1]


def test_calibration_error_takes_off_the_noise_of_its_bins():
    generator = np.random.default_rng(0)
    predicted = generator.uniform(0.2, 0.8, 4000)
    observed = (generator.uniform(size=4000) < predicted).astype(float)
    bins = np.array_split(np.argsort(predicted), 10)
    plug_in = sum(len(b) / 4000 * abs(predicted[b].mean() - observed[b].mean()) for b in bins)
    corrected = metrics.expected_calibration_error(predicted, observed)
    assert corrected < plug_in
    assert corrected < 0.012


def test_calibration_error_of_a_constant_offset_is_the_offset():
    observed = np.tile([0.0, 1.0], 500)
    assert metrics.expected_calibration_error(np.full(1000, 0.75), observed, bins=1) == pytest.approx(0.25, abs=1e-3)


SCORE = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
COST = np.tile([1.0, 2.0, 5.0], (4, 1))  # mean scores .5, .5, .75: the last is the best single, the first the cheapest


def test_a_perfect_router_reaches_the_oracle_and_its_area_is_as_computed_by_hand():
    report = metrics.evaluate(SCORE, COST, SCORE, COST, best_single=2, cheapest=0)
    assert (report.n, report.random, report.best_single) == (4, pytest.approx(7 / 12), 0.75)
    assert (report.quality, report.oracle, report.gap_closed) == (1.0, 1.0, 1.0)
    # Hull: the cheapest (1, .5); great weights buy query 2's answer at cost 2, small ones query 3's at 5 as well:
    # (1.25, .75), (2.25, 1).
    # At weight 0 the first of equals is taken: the same choices, (1 + 2 + 5 + 1) / 4 = 2.25.
    area = 0.25 * 0.625 + 1.0 * 0.875 + (5 - 2.25) * 1.0
    assert report.aiq == pytest.approx(area / 4)
    # Zero router: from (1, .5) straight to (5, .75), the middle model lies below.
    assert report.aiq_zero == pytest.approx(0.625)
    assert report.quality_at_half_cost == 1.0  # at 2.5
    assert report.cost_ratio_at_best_single == pytest.approx(1.25 / 5)
    assert (report.ece, report.brier) == (0.0, 0.0)


def test_a_constant_router_is_the_best_single_model_and_gains_nothing():
    quality = np.tile(SCORE.mean(axis=0), (4, 1))
    report = metrics.evaluate(quality, COST, SCORE, COST, best_single=2, cheapest=0)
    assert report.quality == report.best_single
    assert report.gap_closed == 0.0
    assert report.aiq == pytest.approx(report.aiq_zero)
    assert report.cost_ratio_at_best_single == pytest.approx(1.0)
    assert report.brier == pytest.approx(report.brier_constant)


def test_a_shuffled_router_does_worse_than_an_informed_one():
    generator = np.random.default_rng(1)
    truth = generator.uniform(size=(500, 4))
    score = (generator.uniform(size=truth.shape) < truth).astype(float)
    cost = np.tile([1.0, 2.0, 3.0, 4.0], (500, 1))
    informed = metrics.evaluate(truth, cost, score, cost, 0, 0)
    shuffled = metrics.evaluate(truth[generator.permutation(500)], cost, score, cost, 0, 0)
    assert informed.quality > shuffled.quality + 0.2
    assert shuffled.ece > informed.ece


def test_a_best_single_model_that_is_the_cheapest_leaves_no_range():
    report = metrics.evaluate(SCORE[:, ::-1], COST, SCORE[:, ::-1], COST, best_single=0, cheapest=0)
    assert report.aiq >= report.aiq_zero == 0.75
    assert report.quality_at_half_cost is None


def test_unreached_quality_is_none():
    worst = 1 - SCORE
    report = metrics.evaluate(worst, COST, SCORE, COST, best_single=2, cheapest=0)
    assert report.cost_ratio_at_best_single is None
    assert report.gap_closed is not None and report.gap_closed < 0


def test_a_pool_whose_models_all_fail_alike_has_no_gap():
    score = np.zeros((3, 2))
    report = metrics.evaluate(score, np.ones((3, 2)), score, np.ones((3, 2)), 0, 1)
    assert report.gap_closed is None
