"""Usual answer lengths: who hides reasoning is not free, and who was hardly measured is not extreme."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from router.pools.models import System
from train.export.lengths import EFFORTS, FEWEST, covered, drawn, efforts

SYSTEMS = [System(name, "p") for name in ("plain", "a-think", "a", "b", "c-high", "d-low")]


@pytest.fixture
def data():
    rows = 3 * FEWEST
    measured = torch.zeros(rows, len(SYSTEMS), dtype=torch.bool)
    measured[:, 0] = True
    measured[:FEWEST, 4] = True
    measured[: FEWEST - 1, 5] = True
    queries = pd.DataFrame({"benchmark": ["x"] * FEWEST + ["y"] * FEWEST + ["unused"] * FEWEST})
    tensors = {"measured": measured}
    return SimpleNamespace(
        train_rows=np.arange(2 * FEWEST),
        dataset=SimpleNamespace(queries=queries),
        tensors=tensors,
        systems=SYSTEMS,
    )


def test_the_effort_is_in_the_name_or_hidden_where_nothing_was_measured(data):
    think, high, low = (pytest.approx(EFFORTS[name]) for name in ("think", "high", "low"))
    # "a" has a sibling that thinks, so it does not; of "b" nothing is measured, so its reasoning is hidden
    assert efforts(data).tolist() == [1, think, 1, think, high, low]


def test_benchmarks_with_enough_measured_training_rows_are_covered(data):
    found = covered(data)
    assert found.tolist() == [[True, True], *[[False, False]] * 3, [True, False], [False, False]]


def test_unmeasured_systems_get_the_usual_length_times_their_effort(data):
    own = torch.tensor([4.0, -20, -20, -20, 4.0 + torch.tensor(6.0).log(), -20])
    found = drawn(own, covered(data), efforts(data), torch.zeros(len(SYSTEMS)))
    assert found.tolist() == pytest.approx((4 + efforts(data).log()).tolist(), abs=1e-6)


def test_another_protocol_does_not_count_and_one_without_measured_systems_stays():
    covered = torch.tensor([[True], [False], [False]])
    found = drawn(torch.tensor([5.0, -20.0, -20.0]), covered, torch.ones(3), torch.tensor([0, 0, 1]))
    assert found.tolist() == [5, 5, -20]
