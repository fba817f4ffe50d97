"""Who trains, who tests: every fold once, and no question on both sides. On a generated folder, and on the real one."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from router.errors import DataError, UsageError
from router.evaluation.dataset import Dataset, read_dataset
from train.compare.families import FAMILIES, family_of
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


def test_a_benchmark_is_left_out_with_its_family_and_with_near_twins_of_its_questions(dataset):
    """Questions are of random words; rows 0 to 7 ask what 90 to 97 ask, half of them in a wrapper."""
    generator = np.random.default_rng(1)
    texts = [" ".join(f"w{word}" for word in generator.integers(500, size=30)) for _ in range(100)]
    for row in range(4):
        texts[row] = f"Solve this step by step and give the answer after a colon. {texts[90 + row]} Your answer:"
        texts[4 + row] = f"{texts[94 + row]} so what?"
    texts[20] = " ".join(f"{texts[98]} {texts[21]}".split()[12:42])  # shares 18 of 30 words
    names = np.repeat(["mgsm", "gsm8k", "chat", "law"], [20, 10, 60, 10])
    queries = dataset.queries.assign(
        text=texts, benchmark=names, group=[f"g{row}" for row in range(100)], split="train"
    )
    queries.loc[97, "group"], queries.loc[60, "group"] = None, "g99"
    data = replace(dataset, queries=queries)
    assert np.flatnonzero(repeats(data, "law")).tolist() == [*range(8), 60, *range(90, 100)]
    for name in ("gsm8k", "mgsm"):
        assert np.flatnonzero(repeats(data, name)).tolist() == [*range(30), *range(90, 98)]
    rows = rows_of(data, Regime("leave-one-out", ("gsm8k",)), "gsm8k", 0)
    assert np.array_equal(rows.test, names == "gsm8k")
    assert set(names[rows.train | rows.val]) == {"chat"}


@pytest.mark.parametrize("column", ["group", None])
def test_a_rotation_neither_trains_nor_validates_on_a_question_in_a_wrapper_that_it_tests(dataset, column):
    """Questions are of random words. Rows 0 to 3 are in fold 0 and ask in a wrapper what folds 7, 8, 8 and 9 ask."""
    generator = np.random.default_rng(1)
    texts = [" ".join(f"w{word}" for word in generator.integers(500, size=30)) for _ in range(100)]
    twins, validated = (71, 81, 82, 92), 83
    for row, twin in enumerate(twins):
        texts[row] = f"{texts[twin]}\nAfter careful thought, put you final answer in a box."
    texts[72] = f"Question: {texts[validated]} Answer:"
    names = np.where(np.arange(100) < 10, "mgsm", "gsm8k")
    groups = [f"g{row}" for row in range(100)]
    queries = dataset.queries.assign(text=texts, benchmark=names, group=groups, split="train")
    data = replace(dataset, queries=queries if column else queries.drop(columns="group"))
    rows = rows_of(data, IN_DISTRIBUTION, "0", 0)
    assert np.flatnonzero(rows.test).tolist() == [*range(80, 100)]
    assert np.flatnonzero(rows.val).tolist() == [70, 71, *range(73, 80)]
    assert np.flatnonzero(rows.train).tolist() == [*range(4, 70)]
    later = rows_of(data, IN_DISTRIBUTION, "1", 0)  # folds 0 and 1 are tested, 9 validates
    assert later.test[:20].all() and not later.val[92] and not later.train[[71, 81, 82]].any()
    assert later.train[[70, 72, 73, 83]].all()
    few = rows_of(data, Regime("few-rows", ("0",), 0.5), "0", 0)
    assert np.array_equal(few.yardstick, rows.train) and few.train.sum() == 33


def test_families_are_of_known_form_and_disjoint():
    names = ["med-mmlu", "med-medqa", "mmlu", "mmlu-pro", "math", "math-l5", "mathematics"]
    assert family_of("med-medqa", names) == {"med-mmlu", "med-medqa"}
    assert family_of("mmlu-redux", names) == {"mmlu-redux", "mmlu", "mmlu-pro"}
    assert family_of("math", names) == {"math", "math-l5"} and family_of("mathematics", names) == {"mathematics"}
    every = [name for family in FAMILIES for name in family]
    assert len(every) == len(set(every)) and all(len(family_of(name, every)) > 1 for name in every if "*" not in name)


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
