"""Intervals cover, statistics are those of the books, and the table shows the worst pool."""

import json
import math

import numpy as np
import pytest

from train.studies.reading.figures import Figure, auroc, f1, markdown, measured, spearman, worst


def test_what_is_not_defined_is_nan():
    nothing = np.zeros(3, bool)
    assert all(map(math.isnan, (spearman([1, 1], [1, 2]), f1(nothing, nothing), auroc([1, 2, 3], nothing))))


def test_an_interval_of_a_mean_is_about_two_standard_errors_wide_on_each_side():
    values = np.random.default_rng(1).normal(0.0, 1.0, 400)
    figure = measured("x", "mean", np.mean, values)
    assert (figure.high - figure.low) / 2 == pytest.approx(1.96 / 20, rel=0.15) and figure.n == 400
    assert figure == measured("x", "mean", np.mean, values)


@pytest.mark.parametrize(
    ("value", "bar", "better", "verdict"),
    [(0.5, 0.5, 1, "holds"), (0.4, 0.5, 1, "falls short"), (0.4, 0.5, -1, "holds"), (math.nan, 0.5, -1, "falls short"),
     (0.4, None, 1, "")],
)  # fmt: skip
def test_a_bar_is_met_or_not_and_what_was_not_measured_falls_short(value, bar, better, verdict):
    assert Figure("x", "y", value, bar=bar, better=better).verdict == verdict


def test_of_pools_the_table_shows_the_worst_and_first_of_all_one_without_a_value():
    least = [Figure("x", "kept", value, n=9, bar=0.5, pool=pool) for value, pool in ((0.9, "a"), (0.6, "b"))]
    most = [Figure("x", "lost", value, n=9, bar=0.5, better=-1, pool=pool) for value, pool in ((0.6, "a"), (0.1, "b"))]
    failed = Figure("x", "lost", math.nan, n=9, bar=0.5, better=-1, pool="c", note="no dial")
    assert [each.pool for each in worst([*least, *most])] == ["b", "a"]
    assert worst([*most, failed]) == [failed]
    table = markdown([*least, *most, failed]).splitlines()
    assert table[2] == "| x | kept | 0.600 | – | 9 | ≥ 0.5 | holds | worst in b |"
    assert table[3] == "| x | lost | nan | – | 9 | ≤ 0.5 | falls short | worst in c: no dial |"


def test_rows_that_do_not_exist_say_so_and_nan_is_null_in_json():
    figure = measured("x", "mean", np.mean, [], bar=0.5)
    assert figure.note == "no such row" and figure.verdict == "falls short"
    assert json.loads(json.dumps(figure.to_json(), allow_nan=False))["value"] is None
