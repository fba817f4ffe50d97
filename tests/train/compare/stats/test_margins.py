"""Figures of the sample are those of `router.evaluation.metrics.evaluate`, hulls of many draws those of single ones."""

import numpy as np
import pytest

from router.evaluation import metrics
from train.compare.stats.bootstrap import interval, p_value, query_weights
from train.compare.stats.margins import (
    Judged,
    Yardstick,
    aiq_margin,
    figures,
    reliability,
    router_arena,
    upper_hulls,
)

FEW_DRAWS = 7
BEST, CHEAPEST, DRAWS = 3, 0, 200


@pytest.fixture(params=["smooth", "rounded", "one point"])
def points(request):
    """Costs and qualities (R, P); rounded ones are full of ties."""
    generator = np.random.default_rng(3)
    shape = (FEW_DRAWS, 1 if request.param == "one point" else 29)
    cost, quality = generator.random(shape) + 0.1, generator.random(shape)
    return (cost.round(1), quality.round(1)) if request.param == "rounded" else (cost, quality)


@pytest.mark.parametrize("log_cost", [False, True])
def test_mean_heights_are_those_of_the_single_hull(points, log_cost):
    generator = np.random.default_rng(4)
    low = generator.uniform(0.05, 0.6, FEW_DRAWS)
    high = low + generator.uniform(0.01, 1, FEW_DRAWS)
    single = [
        metrics.upper_hull(cost, quality).mean_height(a, b, log_cost)
        for cost, quality, a, b in zip(*points, low, high, strict=True)
    ]
    assert upper_hulls(*points).mean_heights(low, high, log_cost) == pytest.approx(single, abs=1e-12)


def test_a_range_of_no_width_has_the_height_there_and_no_logarithmic_mean(points):
    at = np.full(FEW_DRAWS, 0.5)
    single = [metrics.upper_hull(*each).mean_height(0.5, 0.5) for each in zip(*points, strict=True)]
    hulls = upper_hulls(*points)
    assert hulls.mean_heights(at, at) == pytest.approx(single, abs=1e-12)
    assert np.isnan(hulls.mean_heights(at, at, log_cost=True)).all()
    assert np.isnan(hulls.mean_heights(np.zeros(FEW_DRAWS), at, log_cost=True)).all()


def test_heights_and_costs_are_those_of_the_single_hull_and_nan_for_none(points):
    hulls, at = upper_hulls(*points), np.tile(np.linspace(0, 1.2, 9), (FEW_DRAWS, 1))
    for draw, each in enumerate(zip(*points, strict=True)):
        single = metrics.upper_hull(*each)
        heights = [np.nan if (h := single.height(x)) is None else h for x in at[draw]]
        assert hulls.heights(at)[draw] == pytest.approx(heights, abs=1e-12, nan_ok=True)
        for column, quality in enumerate(at[draw]):
            found = single.cost_of(quality)
            assert hulls.cost_of(at[:, column])[draw] == pytest.approx(
                np.nan if found is None else found, abs=1e-12, nan_ok=True
            )


def world(queries, seed=0):
    """True qualities (B, 4), outcomes drawn from them, costs: the last model is the best and the dearest."""
    generator = np.random.default_rng(seed)
    truth = generator.uniform(0, 0.8, (queries, 4)) + np.array([0, 0.05, 0.1, 0.2])
    score = (generator.random(truth.shape) < truth).astype(float)
    realised = np.array([1.0, 2.0, 4.0, 9.0]) * generator.uniform(0.5, 1.5, (queries, 1)) / 1000
    return truth, realised, Judged(score, realised, BEST, CHEAPEST, dial_weight=10.0)


def judge(quality, cost, judged, seed=0):
    weights = query_weights(len(quality), DRAWS, seed)
    yardstick = Yardstick.of(judged, weights)
    return figures(quality, cost, judged, yardstick, weights), yardstick, weights


@pytest.mark.parametrize("informed", [True, False])
def test_the_samples_figures_are_those_of_evaluate(informed):
    truth, cost, judged = world(300)
    quality = truth if informed else np.tile(truth.mean(axis=0), (300, 1))
    found, yardstick, _ = judge(quality, cost, judged)
    report = metrics.evaluate(quality, cost, judged.score, judged.realised, BEST, CHEAPEST)
    expected = {
        "aiq": report.aiq,
        "aiq_margin": report.aiq - report.aiq_zero,
        "quality": report.quality,
        "quality_margin": report.quality - report.best_single,
        "half_cost_margin": report.quality_at_half_cost - report.best_single,
        "gap_closed": report.gap_closed,
        "cost_ratio": report.cost_ratio_at_best_single,
        "brier": report.brier,
        "brier_margin": report.brier - report.brier_constant,
        "ece": report.ece,
    }
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-12), name
    assert yardstick.aiq[0] == pytest.approx(report.aiq_zero, abs=1e-12)
    zero = metrics.upper_hull(cost.mean(axis=0), judged.score.mean(axis=0))
    low, high = cost[:, CHEAPEST].mean(), cost[:, BEST].mean()
    log_margin = report.aiq_log_cost - zero.mean_height(low, high, log_cost=True)
    assert found["aiq_log_margin"][0] == pytest.approx(log_margin, abs=1e-12)


def test_the_margin_alone_is_that_of_all_figures():
    truth, cost, judged = world(80)
    found, yardstick, weights = judge(truth, cost, judged)
    assert np.array_equal(aiq_margin(truth, cost, judged, yardstick, weights), found["aiq_margin"])


def test_a_draw_is_judged_as_the_queries_it_took_would_be():
    truth, cost, judged = world(60)
    found, _, weights = judge(truth, cost, judged)
    taken = np.repeat(np.arange(60), (weights[5] * 60).round().astype(int))
    unit = judged.realised[:, BEST].mean() - judged.realised[:, CHEAPEST].mean()  # choices are the sample's
    points = metrics.policy_points(truth[taken], cost[taken], judged.score[taken], judged.realised[taken], unit)
    single_cost, single_score = judged.realised[taken].mean(axis=0), judged.score[taken].mean(axis=0)
    hull = metrics.upper_hull(np.append(points[0], single_cost[0]), np.append(points[1], single_score[0]))
    zero = metrics.upper_hull(single_cost, single_score)
    ends = single_cost[CHEAPEST], single_cost[BEST]
    margin = hull.mean_height(*ends) - zero.mean_height(*ends)
    assert found["aiq_margin"][5] == pytest.approx(margin, abs=1e-12)


def test_shuffled_shares_are_the_mean_of_dealing_the_chosen_models_out_anew():
    truth, cost, judged = world(40)
    found, yardstick, weights = judge(truth, cost, judged)
    chosen, rng = truth.argmax(axis=1), np.random.default_rng(2)
    dealt = [judged.score[np.arange(40), rng.permutation(chosen)].mean() for _ in range(4000)]
    assert found["shuffled_margin"][0] == pytest.approx(np.mean(dealt) - yardstick.best[0], abs=0.005)
    always = np.tile(np.eye(4)[BEST], (40, 1))
    assert np.allclose(judge(always, cost, judged)[0]["shuffled_margin"], 0)
    taken = np.repeat(np.arange(40), (weights[5] * 40).round().astype(int))
    shares = np.bincount(chosen[taken], minlength=4) / 40
    margin = shares @ judged.score[taken].mean(axis=0) - judged.score[taken, BEST].mean()
    assert found["shuffled_margin"][5] == pytest.approx(margin)


def test_plain_calibration_error_and_bias_by_hand():
    score = np.tile([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], (10, 1))  # each of ten bins holds one of each
    quality = np.column_stack([np.repeat(np.linspace(0.75, 0.84, 10), 2), np.zeros((20, 3))])
    found = judge(quality, np.ones((20, 4)), Judged(score, np.ones((20, 4)), BEST, CHEAPEST, 0.0))[0]
    assert found["ece_plain"][0] == pytest.approx(0.795 - 0.5)
    assert found["bias"][0] == pytest.approx((0.795 - 0.5) / 4)
    assert len(found["ece_plain"]) == len(found["bias"]) == DRAWS + 1


def test_a_planted_difference_is_found_and_a_method_differs_from_itself_in_nothing():
    truth, cost, judged = world(500)
    informed = judge(truth, cost, judged)[0]["aiq_margin"]
    shuffled = judge(truth[np.random.default_rng(1).permutation(500)], cost, judged)[0]["aiq_margin"]
    assert interval(informed - shuffled)[0] > 0.05
    assert p_value(informed - shuffled) < 1e-6
    assert p_value(informed - judge(truth, cost, judged)[0]["aiq_margin"]) == 1.0


def test_intervals_shrink_with_the_number_of_queries():
    widths = [np.ptp(interval(judge(*world(queries))[0]["aiq_margin"])) for queries in (100, 1600)]
    assert widths[0] > 2.5 * widths[1]


def test_a_constant_router_collapses_at_no_cost_weight_and_never_at_a_great_one():
    truth, cost, judged = world(100)
    constant = np.tile(truth.mean(axis=0), (100, 1))
    found, yardstick, _ = judge(constant, cost, judged)
    heights, strongest = found["height"], found["strongest"][0]
    assert (strongest[0], strongest[-1]) == (1.0, 0.0)
    assert found["collapse"][0] == pytest.approx(strongest.mean())
    assert heights[0, -1] >= found["quality"][0]  # cheaper choices may be luckier
    assert heights[0, 0] == pytest.approx(yardstick.floor[0])


def test_leaving_the_best_single_model_and_recall_are_counted_by_hand():
    score = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]], float)  # 1, 1, 4, 0 models win
    quality = np.array([[0.1, 0.2, 0.9, 0.3], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]], float)
    found = judge(quality, np.ones((4, 4)), Judged(score, np.ones((4, 4)), BEST, CHEAPEST, 0.0))[0]
    assert found["leaves_best_single"][0] == 0.75
    assert found["recall_at_1"][0] == 0.5  # of the first two queries, whose winner comes fourth and first
    assert found["recall_at_3"][0] == 0.5


def test_the_share_of_draws_that_never_reach_the_best_single_model_is_reported():
    truth, cost, judged = world(80)
    found = judge(1 - truth, cost, judged)[0]
    assert found["unreached"][0] > 0.5
    assert np.isnan(found["cost_ratio"][0])


def test_router_arena_by_hand():
    # 10 USD per thousand: (log2 200 - log2 10) / (log2 200 - log2 .0044) = 2.9957 / 10.7244 = .27934
    saved = np.log(20) / np.log(200 / 0.0044)
    assert router_arena(np.array([0.8]), np.array([0.01]))[0] == pytest.approx(1.1 * 0.8 * saved / (0.08 + saved))
    assert router_arena(np.array([0.8]), np.array([1e-9]))[0] == pytest.approx(1.1 * 0.8 / (0.08 + 1))


def test_a_reliability_diagram_has_ten_bins_of_equal_mass():
    predicted = np.linspace(0, 1, 50)
    mean, observed = reliability(predicted, predicted**2)
    assert mean[0] == pytest.approx(predicted[:5].mean())
    assert observed[-1] == pytest.approx((predicted[45:] ** 2).mean())
    assert len(mean) == 10
