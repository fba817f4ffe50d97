from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from router.errors import UsageError
from train.data.training_data import TrainingData, categories
from train.data.weak_labels import with_weak_labels


def data(labelled):
    """Queries of two categories, alternating; training rows are the first thirty of forty."""
    n = 40
    kind = np.arange(n) % 2
    target = torch.nn.functional.one_hot(torch.from_numpy(kind)).float()
    weight = torch.zeros(n)
    weight[:labelled] = 1
    tensors = {
        "capability": torch.cat([target, torch.zeros(n, 1)], dim=1) * weight[:, None],
        "knowledge": target * weight[:, None],
        "level": torch.where(weight > 0, 2.0 + 2.5 * torch.from_numpy(kind), torch.nan),
        "labelled": weight,
        "category": torch.from_numpy(kind),
    }
    return TrainingData(SimpleNamespace(), None, (), (), {}, np.arange(30), np.arange(30, 35), tensors)


def test_training_rows_get_the_labels_of_their_category_and_the_others_none():
    before = data(labelled=10)
    after = with_weak_labels(before, torch.zeros(40, 4), 0.5, [4]).tensors
    assert after["labelled"].tolist() == [1.0] * 10 + [0.5] * 20 + [0.0] * 10
    kind = torch.arange(10, 30) % 2
    assert torch.equal(after["knowledge"][10:30].argmax(1), kind)
    assert torch.equal(after["capability"][10:30].argmax(1), kind)
    torch.testing.assert_close(after["capability"][10:30].sum(1), torch.ones(20))
    level = after["level"]
    torch.testing.assert_close(level[10:30], 2 + 2.5 * kind, rtol=0, atol=0.5)  # the ridge shrinks to the mean
    assert level[10:30].max() <= 5 and level[30:].isnan().all()
    torch.testing.assert_close(level[:10], before.tensors["level"][:10])
    for name in ("capability", "knowledge"):  # annotations and held-out rows are as before
        assert torch.equal(after[name][:10], before.tensors[name][:10])
        assert not after[name][30:].any()


def test_a_row_that_is_annotated_without_a_difficulty_gets_none():
    before = data(labelled=10)
    before.tensors["level"][:4] = torch.nan
    level = with_weak_labels(before, torch.zeros(40, 4), 0.5, [4]).tensors["level"]
    assert level.isnan().tolist() == [True] * 4 + [False] * 26 + [True] * 10
    before.tensors["level"][:] = torch.nan
    assert with_weak_labels(before, torch.zeros(40, 4), 0.5, [4]).tensors["level"].isnan().all()


def test_without_any_annotation_there_is_no_teacher():
    with pytest.raises(UsageError, match=r"weak_label_weight needs annotated training rows"):
        with_weak_labels(data(labelled=0), torch.zeros(40, 4), 0.5, [4])


def test_a_category_has_a_number_of_its_own_in_each_benchmark():
    queries = pd.DataFrame({"benchmark": ["a", "a", "b", "a"], "category": ["law", "art", "law", "law"]})
    assert categories(SimpleNamespace(queries=queries)).tolist() == [0, 1, 2, 0]
