"""Annotations as training targets: several readings, difficulty, weights of the benchmarks."""

import numpy as np
import pandas as pd
import pytest

from router.evaluation.dataset import Dataset
from router.evaluation.folder_tables import Annotation
from router.network.taxonomy import Taxonomy
from router.pools.models import System
from train.data.options import DataOptions
from train.data.training_data import build_training_data, label_share, tensors_of

NOTES = (
    Annotation("q0", ("coding",), ("Law",), "llm-a"),
    Annotation("q0", ("writing",), ("Art",), "llm-a", 4),
    Annotation("q0", ("agentic",), ("Art",), "llm-b", 1),
    Annotation("q1", ("coding",), ("Law",), "llm-a", 2),
    Annotation("q2", ("coding",), ("Law",), "llm-a"),
    Annotation("q3", ("coding",), ("Law",), "llm-a", 5),
)


@pytest.fixture
def tensors(tmp_path):
    ids = [f"q{i}" for i in range(5)]
    queries = pd.DataFrame({"query_id": ids, "benchmark": list("aaabb"), "category": "x", "text": "four"})
    cells = np.zeros((5, 0), np.float32)
    dataset = Dataset((tmp_path,), queries, (), cells, cells, cells > 0, None, NOTES, {})
    usable = np.array([True, True, True, False, True])
    return tensors_of(dataset, Taxonomy(("Art", "Law"), {}), np.arange(0), usable, np.arange(3))


def test_the_readings_of_a_query_are_averaged_and_its_difficulty_is_that_of_the_reading_with_one(tensors):
    assert tensors["level"].nan_to_num(-1).tolist() == [4, 2, -1, -1, -1]
    assert tensors["knowledge"].tolist() == [[0.5, 0.5], [0, 1], [0, 1], [0, 0], [0, 0]]
    assert tensors["capability"][:3].sum(dim=1).tolist() == [1, 1, 1]
    assert (tensors["capability"][0] > 0).sum() == 2
    assert tensors["labelled"].tolist() == [1, 1, 1, 0, 0]
    assert tensors["label_share"].tolist() == [1] * 5


def test_a_benchmark_weighs_as_the_root_of_its_labelled_training_rows():
    benchmark = pd.Series(["many"] * 40 + ["few"] * 12 + ["none"] * 3)
    labelled = np.arange(55) < 52
    train_rows = np.r_[:36, 40:44, 52:55]
    share = label_share(benchmark, labelled, train_rows)
    assert share[train_rows[:-3]].mean() == pytest.approx(1)
    assert share[40] / share[0] == pytest.approx(3)
    assert share[51] == share[40] and share[54] == 1
    assert label_share(benchmark, labelled & False, train_rows).tolist() == [1] * 55


def test_systems_keep_their_holes_and_those_without_a_training_outcome_are_left_out(tmp_path, tiny_encoder):
    ids = [f"q{i}" for i in range(4)]
    queries = pd.DataFrame({"query_id": ids, "benchmark": "a", "category": "x", "text": "four"})
    score = np.full((4, 3), np.nan, np.float32)
    score[0, 0] = score[1, 1] = score[3, 2] = 1.0
    systems = tuple(System(name, "p") for name in ("first", "second", "unseen"))
    dataset = Dataset((tmp_path,), queries, systems, score, score, score > 2, None, NOTES, {})
    options = DataOptions.checked("data", pools=[], encoder=str(tiny_encoder), minimum_count=1)
    rows = {"train": np.arange(3), "val": np.array([3])}
    found = build_training_data(dataset, np.ones(4, bool), rows, options)
    assert found.systems == systems[:2]
    assert found.tensors["seen"].tolist() == [[True, False], [False, True], [False, False], [False, False]]
