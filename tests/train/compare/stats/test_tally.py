"""What is averaged over what, what is tested against what, and which p-values are corrected together."""

import numpy as np
import pytest

from train.compare.stats.tally import ALL, POOL, Tally, mean, over_benchmarks, select, table


def rows(tally, **changes):
    head = {"regime": "in-distribution", "pool": "small", "subset": ALL} | changes
    return [head | row for row in tally.rows("ours", {"height": np.array([0.0, 1.0])}, details=True)]


@pytest.fixture
def tally():
    """Margins of two methods on two parts; ours has two seeds."""
    tally = Tally()
    tally.add("ours", "aiq_margin", "0", 0, np.array([0.1, 0.0, 0.2]))
    tally.add("ours", "aiq_margin", "0", 1, np.array([0.3, 0.2, 0.4]))
    tally.add("ours", "aiq_margin", "1", 0, np.array([0.6, 0.6, 0.6]))
    tally.add("knn", "aiq_margin", "0", 0, np.array([0.1, 0.2, 0.2]))
    tally.add("knn", "aiq_margin", "1", 0, np.array([0.3, 0.2, 0.4]))
    tally.add(POOL, "n", "0", 0, np.array([7.0]))
    tally.add("knn", "height", "0", 0, np.array([[0.1, 0.5], [0.2, 0.6], [0.0, 0.4]]))
    return tally


def test_figures_are_averaged_over_seeds_first_and_then_over_parts(tally):
    frame = table(rows(tally))
    ours = select(frame, "aiq_margin", method="ours")
    assert ours["value"].item() == pytest.approx((0.2 + 0.6) / 2)
    assert ours["sd"].item() == pytest.approx(np.std([(0.1 + 0.6) / 2, (0.3 + 0.6) / 2], ddof=1))
    assert ours["p"].isna().all()  # nobody is tested against itself
    seeds = frame[(frame["method"] == "ours") & frame["seed"].notna()]
    assert seeds[["part", "seed", "value"]].values.tolist() == [["0", 0, 0.1], ["0", 1, 0.3], ["1", 0, 0.6]]


def test_differences_are_paired_draw_by_draw(tally):
    knn = select(table(rows(tally)), "aiq_margin", method="knn")
    assert knn["difference"].item() == pytest.approx(0.2 - 0.4)
    # Per draw: (.2 + .2) / 2 - (.1 + .6) / 2 = -.15 and (.2 + .4) / 2 - (.3 + .6) / 2 = -.15, though each draw varies.
    assert (knn["difference_low"].item(), knn["difference_high"].item()) == pytest.approx((-0.2, -0.2))
    assert knn["p"].item() == 0.0


def test_a_curve_has_a_row_per_point_and_no_parts(tally):
    height = select(table(rows(tally)), "height")
    assert height[["at", "value"]].values.tolist() == [[0.0, 0.1], [1.0, 0.5]]
    assert len(rows(tally)) == 15  # aiq: 2 + 4 parts + 5 seeds; n: 2; height: 2


def test_p_values_are_corrected_over_methods_and_pools_of_one_regime_and_figure():
    found = []
    for pool, p in (("a", 0.01), ("b", 0.04)):
        for regime in ("in-distribution", "ood"):
            found.append({"regime": regime, "subset": ALL, "part": ALL, "metric": "aiq_margin", "pool": pool, "p": p})
    frame = table(found)
    assert frame["p_holm"].tolist() == pytest.approx([0.02, 0.02, 0.04, 0.04])


def test_each_benchmark_counts_once_in_the_mean_over_benchmarks_however_many_pools_are_judged_on_it(tally):
    again = Tally()
    again.add("ours", "aiq_margin", "0", 0, np.array([0.4, 0.2, 0.6]))
    found = over_benchmarks(table(rows(tally) + rows(again, pool="large")), "aiq_margin", "ours")
    assert found["value"] == pytest.approx(((0.2 + 0.4) / 2 + 0.6) / 2)
    sd = (np.std([0.1, 0.3], ddof=1) + np.std([0.2, 0.6], ddof=1)) / 2 / 2  # the other part's is 0
    assert (found["low"], found["high"]) == pytest.approx((0.45 - 1.959964 * sd, 0.45 + 1.959964 * sd))


def test_a_mean_skips_what_is_no_number():
    assert mean([np.array([1.0, np.nan]), np.array([3.0, 5.0])]).tolist() == [2.0, 5.0]
