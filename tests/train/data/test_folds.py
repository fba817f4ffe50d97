from types import SimpleNamespace

import pandas as pd
import pytest

from router.errors import UsageError
from train.data.folds import fold_rows, usable_rows

QUERIES = pd.DataFrame(
    {
        "benchmark": ["bbh", "mmlu-redux", "mmlu-redux", "mmlu-pro", "mmlu-pro"],
        "split": ["train", "train", "test", "ood", "ood"],
        "fold": [0, 1, 8, 0, 9],
        "ood_twin": [False, True, False, False, False],
    }
)
DATASET = SimpleNamespace(queries=QUERIES, folder="data")


def test_ood_benchmarks_and_their_twins_stay_out_unless_named():
    assert usable_rows(DATASET, ()).tolist() == [True, False, True, False, False]
    assert usable_rows(DATASET, ["mmlu-pro"]).tolist() == [True] * 5


def test_only_a_real_ood_benchmark_can_be_named():
    with pytest.raises(UsageError, match=r"ood_benchmarks. 'bbh' has no rows of split ood; known: mmlu-pro"):
        usable_rows(DATASET, ["bbh"])


def test_folds_select_among_usable_rows():
    assert fold_rows(DATASET, usable_rows(DATASET, ()), [0, 1]).tolist() == [0]
    assert fold_rows(DATASET, usable_rows(DATASET, ["mmlu-pro"]), [0, 1]).tolist() == [0, 1, 3]
    with pytest.raises(UsageError, match="no usable row in folds"):
        fold_rows(DATASET, usable_rows(DATASET, ()), [5])
    with pytest.raises(UsageError, match="whole numbers from 0 to 9"):
        fold_rows(DATASET, usable_rows(DATASET, ()), [10])
