"""Who remains where a benchmark is left out, and who is best where systems were measured on different queries."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from router.errors import DataError
from router.evaluation.dataset import read_dataset
from router.pools.pool import read_pool
from train.compare.members import remaining, system_effects
from train.compare.regimes import Regime, repeats, rows_of
from train.data_folders.synthetic.command import write_planted

QUERIES, LEFT_OUT = 300, "planted-coding"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A planted folder in which `planted-coder` has 20 outcomes outside the left-out benchmark, `planted-tiny` 120."""
    folder = tmp_path_factory.mktemp("holes") / "data"
    write_planted(folder, QUERIES)
    queries = pd.read_parquet(folder / "queries.parquet")
    outcomes = pd.read_parquet(folder / "outcomes.parquet")
    coding = set(queries["query_id"][queries["benchmark"] == LEFT_OUT])
    elsewhere = outcomes[~outcomes["query_id"].isin(coding)]
    dropped = [elsewhere[elsewhere["model"] == name].index[kept:] for name, kept in HOLES.items()]
    outcomes.drop(index=np.concatenate(dropped)).to_parquet(folder / "outcomes.parquet")
    return folder


HOLES = {"planted-coder": 20, "planted-tiny": 120}


def test_effects_are_those_that_were_planted_where_means_over_different_queries_mislead():
    rng = np.random.default_rng(0)
    hard, planted = rng.uniform(0, 0.5, 200), np.array([0.1, 0.0, -0.1])
    value = hard[:, None] + planted
    value[hard < 0.25, 0] = np.nan  # the best system answered easy queries alone, the worst hard ones
    value[hard > 0.4, 2] = np.nan
    value = np.vstack([value, [np.nan] * 3])
    assert system_effects(value, "x") == pytest.approx(planted)
    value[:200, 0] -= 0.4  # by means it stays ahead of the worst
    assert np.nanmean(value, axis=0)[0] < np.nanmean(value, axis=0)[2]
    assert system_effects(value, "x") == pytest.approx(planted - [0.4, 0, 0] + 0.4 / 3)


def test_effects_of_a_complete_matrix_are_means():
    value = np.random.default_rng(1).random((50, 4))
    assert system_effects(value, "x") == pytest.approx(value.mean(axis=0) - value.mean())


def test_systems_that_share_no_query_cannot_be_ranked():
    with pytest.raises(DataError, match=r"pool 'apart': its members fall into 2 sets that share no training query"):
        system_effects(np.array([[0.1, 0.2, np.nan], [np.nan, np.nan, 0.9]]), "apart")


def test_members_with_too_few_outcomes_elsewhere_leave_the_pool(folder):
    dataset = read_dataset(folder)
    pool = read_pool(folder / "pool.yaml", dataset.systems)
    reduced, outcomes = remaining(dataset, pool, LEFT_OUT)
    assert set(pool.ids) - set(reduced.ids) == {"planted-coder"}
    left_out = repeats(dataset, LEFT_OUT)
    assert len(outcomes.rows) == QUERIES  # rows of any member
    assert len(outcomes.complete().rows) == left_out.sum() + HOLES["planted-tiny"]
    tiny = reduced.ids.index("planted-tiny")
    known = ~np.isnan(outcomes.score)
    assert np.array_equal(known, ~np.isnan(outcomes.realised_usd))
    assert known.sum(axis=0).tolist() == [QUERIES if m != tiny else known[:, tiny].sum() for m in range(9)]


def test_a_part_may_name_what_several_benchmarks_begin_with_and_be_judged_on_some_folds(folder):
    dataset = read_dataset(folder)
    regime = Regime("leave-one-out", ("planted",), judged_folds=(0, 3))
    rows = rows_of(dataset, regime, "planted", 0)
    assert np.array_equal(rows.test, np.isin(dataset.queries["fold"], (0, 3)))
    assert not (rows.train | rows.val).any()
    several = dataset.queries.assign(benchmark=dataset.queries["benchmark"].replace(LEFT_OUT, "apart"))
    rows = rows_of(replace(dataset, queries=several), Regime("leave-one-out", ("apart",)), "apart", 0)
    assert np.array_equal(rows.test, dataset.queries["benchmark"] == LEFT_OUT) and rows.train.any()
