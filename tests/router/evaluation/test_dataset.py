"""Reading a data folder: what is dense, what is missing, and one clear error per broken cell."""

import json
import os

import numpy as np
import pandas as pd
import pytest

from router.errors import DataError
from router.evaluation.dataset import data_folder, read_dataset
from router.pools.models import System


def write(folder, queries=None, outcomes=None, models=None, annotations=None):
    base = {
        "query_id": ["a", "b", "c"],
        "benchmark": "x",
        "text": ["one two", "three", "12345678"],
        "split": ["train", "val", "test"],
        "fold": [0, 7, 8],
    }
    cells = {
        "query_id": ["a", "a", "b", "c"],
        "model": ["m1", "m2", "m1", "m2"],
        "score": [1.0, 0.5, 0.0, 1.0],
        "output_chars": [40, None, 8, 0],
    }
    prices = {"model": ["m1", "m2"], "input_usd_per_mtok": [1.0, None], "output_usd_per_mtok": [2.0, None]}
    pd.DataFrame({**base, **(queries or {})}).to_parquet(folder / "queries.parquet")
    pd.DataFrame({**cells, **(outcomes or {})}).to_parquet(folder / "outcomes.parquet")
    pd.DataFrame({**prices, **(models or {})}).to_csv(folder / "models.csv", index=False)
    notes = annotations or [{"query_id": "a", "capabilities": ["coding"], "knowledge": ["Law"], "annotator": "llm-a"}]
    (folder / "annotations.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
    return folder


def test_outcomes_become_dense_with_missing_cells_as_nan(tmp_path):
    dataset = read_dataset(write(tmp_path))
    assert dataset.systems == (System("m1", "default"), System("m2", "default"))
    np.testing.assert_array_equal(dataset.score, [[1.0, 0.5], [0.0, np.nan], [np.nan, 1.0]])
    np.testing.assert_array_equal(dataset.output_tokens, [[10.0, np.nan], [2.0, np.nan], [np.nan, 0.0]])
    np.testing.assert_array_equal(dataset.measured, [[True, False], [True, False], [False, True]])
    assert dataset.input_tokens.tolist() == [7 / 4, 5 / 4, 2.0]
    assert dataset.models["m1"].priced and not dataset.models["m2"].priced
    assert dataset.cost_usd is None
    assert [note.capabilities for note in dataset.annotations] == [("coding",)]


def test_a_cost_column_is_the_realised_cost(tmp_path):
    dataset = read_dataset(write(tmp_path, outcomes={"cost_usd": [0.1, 0.2, 0.3, 0.4]}))
    assert dataset.cost_usd is not None and dataset.cost_usd[0].tolist() == pytest.approx([0.1, 0.2])


def test_the_same_model_under_two_protocols_is_two_systems(tmp_path):
    dataset = read_dataset(write(tmp_path, outcomes={"protocol": ["p", "p", "q", "q"]}))
    assert [s.id for s in dataset.systems] == ["m1@p", "m2@p", "m1@q", "m2@q"]


def test_rows_with_an_empty_text_are_left_out_and_said(tmp_path, caplog):
    dataset = read_dataset(write(tmp_path, queries={"text": ["one", "  ", "two"]}))
    assert dataset.queries["query_id"].tolist() == ["a", "c"]
    assert "1 rows with an empty text are left out" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": {"fold": [0, 7, 10]}}, r"queries.parquet: row 2, column 'fold': got 10"),
        ({"queries": {"split": ["train", "dev", "test"]}}, r"row 1, column 'split': got 'dev'.*train, val, test, ood"),
        ({"queries": {"query_id": ["a", "a", "c"]}}, r"row 1, column 'query_id'.*unique"),
        ({"queries": {"text": ["x", None, "y"]}}, r"row 1, column 'text'.*a string"),
        ({"outcomes": {"score": [1.0, 1.5, 0.0, 1.0]}}, r"outcomes.parquet: row 1, column 'score': got .*1.5"),
        ({"outcomes": {"score": [1.0, np.nan, 0.0, 1.0]}}, r"row 1, column 'score': got .*nan"),
        ({"outcomes": {"model": ["m1", "m1", "m1", "m2"]}}, r"row 1, column 'query_id'.*one row per query, model"),
        ({"outcomes": {"query_id": ["q", "r", "s", "t"]}}, r"column 'query_id': got 'q'.*an id of queries.parquet"),
        ({"outcomes": {"output_chars": [-1, None, 8, 0]}}, r"row 0, column 'output_chars'"),
        ({"models": {"input_usd_per_mtok": [-1.0, 1.0]}}, r"models.csv: row 0, column 'input_usd_per_mtok': got -1.0"),
        ({"models": {"input_usd_per_mtok": ["free", 1.0]}}, r"row 0, column 'input_usd_per_mtok': got 'free'"),
        ({"models": {"model": ["m1", "m1"]}}, r"row 1, column 'model': got 'm1'"),
        (
            {"annotations": [{"query_id": "a", "capabilities": [], "knowledge": ["Law"]}]},
            r"annotations.jsonl: row 0, column 'capabilities'",
        ),
        *(
            (
                {"annotations": [{"query_id": "a", "capabilities": ["x"], "knowledge": ["y"], "difficulty": level}]},
                r"row 0, column 'difficulty': got .*, allowed is a whole number from 1 to 5, or nothing",
            )
            for level in (0, 6, 2.5, "3", True, [])
        ),
    ],
)
def test_a_broken_cell_is_named_by_file_row_and_column(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        read_dataset(write(tmp_path, **change))


def test_several_folders_are_read_as_one(tmp_path, caplog):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for folder in (first, second, third):
        folder.mkdir()
    write(first, queries={"group": ["g", "h", "i"]})
    ids = {"query_id": ["d", "e", "f"]}
    notes = [
        {"query_id": "f", "capabilities": ["coding"], "knowledge": ["Law"], "difficulty": 4},
        {"query_id": "nowhere", "capabilities": ["coding"], "knowledge": ["Law"]},
    ]
    cells = {"query_id": ["d", "d", "e", "f"], "model": ["m2", "m3", "m2", "m3"], "cost_usd": [0.5, None, 2.0, 0.0]}
    prices = {"model": ["m1", "m3"], "input_usd_per_mtok": [9.0, 3.0]}
    write(second, queries=ids, outcomes=cells, models=prices, annotations=notes)
    again = {"query_id": "a", "capabilities": ["writing"], "knowledge": ["Art"], "difficulty": 2}
    (second / "annotations-first.jsonl").write_text(json.dumps(again) + "\n")
    write(third, queries={"query_id": ["x", "y", "z"]}, annotations=[again | {"query_id": "x"}])
    for name in ("outcomes.parquet", "models.csv"):  # queries with labels alone
        (third / name).unlink()

    dataset = read_dataset(os.pathsep.join(map(str, (first, second, third))))
    assert (
        dataset.folders == (first, second, third)
        and dataset.folder == f"{first}{os.pathsep}{second}{os.pathsep}{third}"
    )
    assert dataset.queries["query_id"].tolist() == list("abcdefxyz")
    assert dataset.queries["group"].isna().tolist() == [False] * 3 + [True] * 6
    assert [system.model for system in dataset.systems] == ["m1", "m2", "m3"]
    of_second = [[np.nan, 1.0, 0.5], [np.nan, 0.0, np.nan], [np.nan, np.nan, 1.0]]
    np.testing.assert_array_equal(dataset.score[3:], of_second + [[np.nan] * 3] * 3)
    expected = np.full((9, 3), np.nan)
    expected[3, 1], expected[4, 1], expected[5, 2] = 0.5, 2.0, 0.0
    np.testing.assert_array_equal(dataset.cost_usd, expected)
    assert dataset.models["m1"].input_usd_per_mtok == 1.0 and dataset.models["m3"].input_usd_per_mtok == 3.0
    assert [record.message for record in caplog.records] == [
        f"{second}: 1 models have other prices in an earlier folder, and those count: m1"
    ]
    noted = [(note.query_id, note.difficulty) for note in dataset.annotations]
    assert noted == [("a", None), ("a", 2), ("f", 4), ("x", 2)]


def test_folders_with_the_same_ids_are_both_named(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    both = f"{tmp_path / 'one'}{os.pathsep}{tmp_path / 'two'}"
    with pytest.raises(DataError, match=r"3 ids of queries stand in two folders, such as 'a' in .*one and .*two; ids"):
        read_dataset(both)
    with pytest.raises(DataError, match=r"one data folder is needed here, got 2: name one of .*one, .*two"):
        data_folder(both)
    twice = f"{tmp_path / 'one'}{os.pathsep}{tmp_path / 'one'}"
    assert len(read_dataset(twice).queries) == 3


def test_a_missing_column_a_missing_file_and_a_broken_file_are_named(tmp_path):
    write(tmp_path)
    pd.DataFrame({"query_id": ["a"]}).to_parquet(tmp_path / "outcomes.parquet")
    with pytest.raises(DataError, match=r"lacks the columns \['model', 'score'\]"):
        read_dataset(tmp_path)
    (tmp_path / "outcomes.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        read_dataset(tmp_path)
    (tmp_path / "outcomes.parquet").unlink()
    with pytest.raises(DataError, match=r"outcomes.parquet is missing: set ROUTEMIX_DIR"):
        read_dataset(tmp_path)


def test_without_data_the_error_says_how_to_get_some(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROUTEMIX_DIR", raising=False)
    with pytest.raises(DataError, match=r"no data at data/routemix-open.*python -m train planted"):
        data_folder()
    monkeypatch.setenv("ROUTEMIX_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match="elsewhere"):
        data_folder()
