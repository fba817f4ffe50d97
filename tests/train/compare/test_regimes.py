"""Who trains, who tests: every fold once, and no question on both sides. On a generated folder, and on the real one."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from router.errors import DataError, UsageError
from router.evaluation.dataset import Dataset, read_dataset
from train.compare.regimes import Regime, regimes, repeats, rotation_folds, rows_of

IN_DISTRIBUTION = Regime("in-distribution", ("0", "1", "2", "3", "4"))


@pytest.fixture(scope="module")
def dataset():
    """Ten rows per fold of four benchmarks, `law` of split ood; each question is asked twice, sometimes elsewhere."""
    generator = np.random.default_rng(0)
    names = generator.choice(["math", "code", "chat", "law"], size=100)
    fold = np.repeat(np.arange(10), 10)
    group = fold * 5 + np.tile(np.arange(5), 20)
    law = {g for g, name in zip(group, names, strict=True) if name == "law"}
    queries = pd.DataFrame(
        {
            "query_id": [f"q{i}" for i in range(100)],
            "benchmark": names,
            "category": "x",
            "text": "x",
            "split": ["ood" if name == "law" else "train" for name in names],
            "fold": fold,
            "group": group,
            "ood_twin": [name != "law" and g in law for g, name in zip(group, names, strict=True)],
        }
    )
    nothing = np.zeros((100, 1), np.float32)
    return Dataset((Path("folder"),), queries, (), nothing, nothing, nothing > 0, None, (), {})


@pytest.fixture(scope="module")
def real():
    if "ROUTEMIX_DIR" not in os.environ:
        pytest.skip("ROUTEMIX_DIR names no data folder")
    return read_dataset(os.environ["ROUTEMIX_DIR"])


def test_rotation_0_is_the_shipped_split():
    assert rotation_folds(0) == (tuple(range(7)), 7, (8, 9))


def test_the_rotations_test_every_fold_once_and_share_no_fold_between_sides():
    tested = []
    for rotation in range(5):
        train, val, test = rotation_folds(rotation)
        assert sorted([*train, val, *test]) == list(range(10))
        tested += test
    assert sorted(tested) == list(range(10))


def test_every_query_is_tested_once_in_distribution_and_sides_do_not_overlap(dataset):
    times = np.zeros(100, int)
    for part in IN_DISTRIBUTION.parts:
        rows = rows_of(dataset, IN_DISTRIBUTION, part, seed=0)
        assert not (rows.train & rows.val).any() and not ((rows.train | rows.val) & rows.test).any()
        assert np.array_equal(rows.train, rows.yardstick)
        times += rows.test
    assert (times == 1).all()


@pytest.mark.parametrize("folder", ["dataset", "real"])
@pytest.mark.parametrize("kind", ["in-distribution", "few-rows", "leave-one-out", "ood"])
def test_no_regime_trains_or_validates_on_a_question_that_it_tests(kind, folder, request):
    data = request.getfixturevalue(folder)
    group, twin = pd.factorize(data.queries["group"])[0], data.queries["ood_twin"].to_numpy()
    for regime in regimes(data, [kind], range(5), (), (0.5,)):
        for part in regime.parts:
            rows = rows_of(data, regime, part, seed=1)
            seen = rows.train | rows.val
            assert seen.any() and rows.test.any()
            assert not (rows.yardstick & rows.val).any() and not (rows.train & ~rows.yardstick).any()
            assert not np.isin(group[seen], group[rows.test]).any()
            if (data.queries["split"][rows.test] == "ood").any() and kind in ("leave-one-out", "ood"):
                assert not twin[seen].any()


def test_a_left_out_benchmark_is_tested_whole(dataset):
    rows = rows_of(dataset, Regime("leave-one-out", ("code",)), "code", 0)
    assert np.array_equal(rows.test, dataset.queries["benchmark"] == "code")
    assert set(dataset.queries["fold"][rows.train]) <= set(range(7))
    assert rows.train.any() and set(dataset.queries["fold"][rows.val]) <= {7}


def test_repeated_questions_cannot_be_found_without_a_group_column(dataset):
    bare = replace(dataset, queries=dataset.queries.drop(columns="group"))
    with pytest.raises(DataError, match=r"no column 'group'.*add it"):
        repeats(bare, "code")


def test_few_rows_are_a_share_drawn_by_the_seed_and_nested(dataset):
    small, large = Regime("few-rows", ("1",), 0.1), Regime("few-rows", ("1",), 0.5)
    few, more = rows_of(dataset, small, "1", 3), rows_of(dataset, large, "1", 3)
    assert few.train.sum() == round(0.1 * few.yardstick.sum())
    assert not (few.train & ~more.train).any()
    assert not np.array_equal(few.train, rows_of(dataset, small, "1", 4).train)
    assert np.array_equal(few.test, rows_of(dataset, IN_DISTRIBUTION, "1", 0).test)
    assert (small.name, large.draws_rows, IN_DISTRIBUTION.draws_rows) == ("few-rows-0.1", True, False)


def test_regimes_name_their_parts_and_refuse_what_the_folder_lacks(dataset):
    found = regimes(dataset, ["in-distribution", "few-rows", "leave-one-out", "ood"], (0, 2), (), (0.1, 0.2))
    assert [regime.name for regime in found] == [
        "in-distribution", "few-rows-0.1", "few-rows-0.2", "leave-one-out", "ood",
    ]  # fmt: skip
    assert found[0].parts == ("0", "2")
    assert found[3].parts == ("chat", "code", "law", "math")
    assert found[4].parts == ("law",)
    with pytest.raises(UsageError, match="benchmarks: 'cod' is not in folder; known: code"):
        regimes(dataset, ["leave-one-out"], (0,), ("cod",), ())
    inside = replace(dataset, queries=dataset.queries.assign(split="train"))
    with pytest.raises(UsageError, match="no row of split ood; use leave-one-out"):
        regimes(inside, ["ood"], (0,), (), ())
