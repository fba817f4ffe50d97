"""Hulls of many draws at once are those of `router.evaluation.metrics`, one by one."""

import numpy as np
import pytest

from router.evaluation import metrics
from train.compare.stats.hulls import upper_hulls

DRAWS = 7


@pytest.fixture(params=["smooth", "rounded", "one point"])
def points(request):
    """Costs and qualities (R, P); rounded ones are full of ties."""
    generator = np.random.default_rng(3)
    shape = (DRAWS, 1 if request.param == "one point" else 29)
    cost, quality = generator.random(shape) + 0.1, generator.random(shape)
    return (cost.round(1), quality.round(1)) if request.param == "rounded" else (cost, quality)


@pytest.mark.parametrize("log_cost", [False, True])
def test_mean_heights_are_those_of_the_single_hull(points, log_cost):
    generator = np.random.default_rng(4)
    low = generator.uniform(0.05, 0.6, DRAWS)
    high = low + generator.uniform(0.01, 1, DRAWS)
    single = [
        metrics.upper_hull(cost, quality).mean_height(a, b, log_cost)
        for cost, quality, a, b in zip(*points, low, high, strict=True)
    ]
    assert upper_hulls(*points).mean_heights(low, high, log_cost) == pytest.approx(single, abs=1e-12)


def test_a_range_of_no_width_has_the_height_there_and_no_logarithmic_mean(points):
    at = np.full(DRAWS, 0.5)
    single = [metrics.upper_hull(*each).mean_height(0.5, 0.5) for each in zip(*points, strict=True)]
    hulls = upper_hulls(*points)
    assert hulls.mean_heights(at, at) == pytest.approx(single, abs=1e-12)
    assert np.isnan(hulls.mean_heights(at, at, log_cost=True)).all()
    assert np.isnan(hulls.mean_heights(np.zeros(DRAWS), at, log_cost=True)).all()


def test_heights_and_costs_are_those_of_the_single_hull_and_nan_for_none(points):
    hulls, at = upper_hulls(*points), np.tile(np.linspace(0, 1.2, 9), (DRAWS, 1))
    for draw, each in enumerate(zip(*points, strict=True)):
        single = metrics.upper_hull(*each)
        heights = [np.nan if (h := single.height(x)) is None else h for x in at[draw]]
        assert hulls.heights(at)[draw] == pytest.approx(heights, abs=1e-12, nan_ok=True)
        for column, quality in enumerate(at[draw]):
            found = single.cost_of(quality)
            assert hulls.cost_of(at[:, column])[draw] == pytest.approx(
                np.nan if found is None else found, abs=1e-12, nan_ok=True
            )
