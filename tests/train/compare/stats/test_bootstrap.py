"""Draws, intervals, p-values and Holm's correction, by hand and against what they promise."""

import math

import numpy as np
import pytest

from train.compare.stats.bootstrap import holm, interval, p_value, query_weights, spread


def test_a_draw_takes_as_many_queries_as_there_are_and_the_first_is_the_sample():
    weights = query_weights(7, 50, seed=1)
    assert weights.shape == (51, 7)
    assert weights[0].tolist() == [1 / 7] * 7
    assert weights.sum(axis=1) == pytest.approx(np.ones(51))
    counts = weights * 7
    assert counts == pytest.approx(counts.round())
    assert len(np.unique(weights[1:], axis=0)) > 40


def test_the_same_seed_pairs_draws_and_another_does_not():
    assert np.array_equal(query_weights(9, 5, seed=2), query_weights(9, 5, seed=2))
    assert not np.array_equal(query_weights(9, 5, seed=2), query_weights(9, 5, seed=3))


def test_an_interval_is_the_samples_value_and_1_96_standard_deviations():
    draws = np.array([5.0, 1.0, 2.0, 3.0])  # draws of standard deviation 1 around another mean
    assert spread(draws) == pytest.approx(1.0)
    assert interval(draws) == pytest.approx((5 - 1.96, 5 + 1.96), abs=1e-4)


def test_the_spread_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    draws = query_weights(400, 4000, seed=0) @ values
    assert spread(draws) == pytest.approx(values.std() / 20, rel=0.05)


def test_intervals_shrink_with_the_square_root_of_the_number_of_queries():
    generator = np.random.default_rng(0)
    small, large = (spread(query_weights(n, 2000, seed=0) @ generator.normal(size=n)) for n in (100, 1600))
    assert small / large == pytest.approx(4, rel=0.2)


def test_a_method_compared_with_itself_has_p_1_and_a_certain_difference_p_0():
    draws = query_weights(30, 100, seed=0) @ np.random.default_rng(1).random(30)
    assert p_value(draws - draws) == 1.0
    assert p_value(draws + 0.1 - draws) == 0.0


def test_p_is_that_of_a_normal():
    draws = np.array([1.959964, 0.0, 1.0, 2.0])
    assert p_value(draws) == pytest.approx(0.05, abs=1e-6)
    assert p_value(-draws) == pytest.approx(0.05, abs=1e-6)


def test_p_is_even_under_the_null_and_small_for_a_planted_difference():
    generator = np.random.default_rng(5)
    weights = query_weights(300, 300, seed=0)
    null = [p_value(weights @ generator.normal(size=300)) for _ in range(300)]
    assert 0.02 < np.mean(np.array(null) < 0.05) < 0.09
    assert 0.4 < np.mean(null) < 0.6
    assert p_value(weights @ generator.normal(0.5, 1, size=300)) < 1e-6


def test_a_figure_without_a_number_has_no_p_and_no_interval():
    assert math.isnan(p_value(np.array([np.nan, 1.0, 2.0])))
    assert math.isnan(p_value(np.array([1.0, np.nan, np.nan])))
    assert all(math.isnan(end) for end in interval(np.array([0.5, np.nan, np.nan])))


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 × .01; 2 × .03; .04 is raised to its predecessor's .06
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([0.2, np.nan, 0.01], [0.2, np.nan, 0.02]),  # a missing one counts for nothing
        ([], []),
    ],
)
def test_holms_correction_by_hand(given, adjusted):
    assert holm(np.array(given)) == pytest.approx(np.array(adjusted), nan_ok=True)
