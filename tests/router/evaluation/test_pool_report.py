"""What `router evaluate` prints, on a folder small enough to check by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from router.errors import DataError, PoolError, UsageError
from router.evaluation.dataset import read_dataset
from router.evaluation.pool_report import (
    evaluate_router,
    first_label_agreement,
    labels,
    mean_filled,
    multilingual_f1,
    pool_outcomes,
    readings,
    reference_models,
    row_masks,
)
from router.network.taxonomy import Taxonomy
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool
from router.routing.router import Router

A, B = System("a", "default"), System("b", "default")
POOL = Pool("ab", (Candidate(ModelFacts("a", 1.0, 2.0), A), Candidate(ModelFacts("b", 10.0, 20.0), B)))


@pytest.fixture
def folder(tmp_path):
    """Six queries of eight characters (two tokens); the last lacks an outcome of b."""
    ids = [f"q{i}" for i in range(6)]
    pd.DataFrame(
        {
            "query_id": ids,
            "benchmark": "x",
            "text": [f"query {i}." for i in range(6)],
            "split": ["train", "train", "val", "test", "test", "test"],
            "fold": [0, 1, 7, 8, 9, 9],
        }
    ).to_parquet(tmp_path / "queries.parquet")
    cells = [
        (q, m, s, c) for q, row in zip(ids, SCORES, strict=True) for m, s, c in zip("ab", row, (40, None), strict=True)
    ]
    table = pd.DataFrame(cells[:-1], columns=["query_id", "model", "score", "output_chars"])
    table.to_parquet(tmp_path / "outcomes.parquet")
    prices = {"model": ["a", "b"], "input_usd_per_mtok": [9.0, 9.0], "output_usd_per_mtok": [9.0, 9.0]}
    pd.DataFrame(prices).to_csv(tmp_path / "models.csv", index=False)
    return tmp_path


SCORES = [(1, 0), (1, 1), (0, 1), (0, 1), (1, 1), (1, 1)]


def test_a_pools_queries_are_those_every_member_has_a_score_on(folder):
    outcomes = pool_outcomes(read_dataset(folder), POOL)
    assert outcomes.rows.tolist() == [0, 1, 2, 3, 4]
    assert outcomes.score.tolist() == [list(map(float, row)) for row in SCORES[:5]]


def test_with_holes_a_query_counts_that_any_member_has_a_score_on(folder):
    outcomes = pool_outcomes(read_dataset(folder), POOL, holes=True)
    assert outcomes.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert outcomes.score[5, 0] == 1.0 and np.isnan([outcomes.score[5, 1], outcomes.realised_usd[5, 1]]).all()
    assert outcomes.complete().rows.tolist() == [0, 1, 2, 3, 4]


def test_realised_cost_uses_the_pools_prices_and_counts_an_unknown_length_as_the_mean(folder):
    realised = pool_outcomes(read_dataset(folder), POOL).realised_usd
    assert realised[0].tolist() == pytest.approx([(2 * 1 + 10 * 2) / 1e6, (2 * 10 + 0 * 20) / 1e6])
    assert mean_filled(np.array([[2.0], [np.nan], [4.0]])).ravel().tolist() == [2.0, 3.0, 4.0]


def test_a_cost_column_replaces_computed_costs(folder):
    table = pd.read_parquet(folder / "outcomes.parquet")
    table["cost_usd"] = 0.5
    table.to_parquet(folder / "outcomes.parquet")
    assert (pool_outcomes(read_dataset(folder), POOL).realised_usd == 0.5).all()


def test_where_no_cost_is_recorded_it_is_that_of_the_tokens(folder):
    table = pd.read_parquet(folder / "outcomes.parquet")
    table["cost_usd"] = [0.5, None] * 5 + [0.5]
    table.to_parquet(folder / "outcomes.parquet")
    dataset = read_dataset(folder)
    assert pool_outcomes(dataset, POOL).realised_usd[0].tolist() == pytest.approx([0.5, 2 * 10 / 1e6])
    free = Pool("ab", (Candidate(ModelFacts("a"), A), Candidate(ModelFacts("b"), B)))
    with pytest.raises(DataError, match=r"pool 'ab': b have outcomes without cost_usd in .*, and no price: state"):
        pool_outcomes(dataset, free)


def test_of_several_readings_the_latest_with_a_difficulty_is_judged(folder):
    read = [
        {"query_id": "q1", "capabilities": [name], "knowledge": ["Law"]} for name in ("coding", "writing", "agentic")
    ]
    read[1]["difficulty"] = 3
    read.append({"query_id": "q2", "capabilities": ["coding"], "knowledge": ["Law"], "annotator": "llm-b"})
    (folder / "annotations.jsonl").write_text("".join(json.dumps(each) + "\n" for each in read))
    dataset = read_dataset(folder)
    assert {row: (note.capabilities, note.difficulty) for row, note in labels(dataset).items()} == {
        1: (("writing",), 3)
    }
    assert [note.capabilities[0] for note in readings(dataset)[1]] == ["agentic", "writing", "coding"]


def test_rows_by_split_and_by_fold(folder):
    dataset = read_dataset(folder)
    evaluated, training = row_masks(dataset, "test", None)
    assert np.flatnonzero(evaluated).tolist() == [3, 4, 5] and np.flatnonzero(training).tolist() == [0, 1]
    evaluated, training = row_masks(dataset, None, [1, 9])
    assert np.flatnonzero(evaluated).tolist() == [1, 4, 5] and np.flatnonzero(training).tolist() == [0]
    for split, folds, message in [("dev", None, "unknown split 'dev'"), (None, [12], "0 to 9"), (None, None, "either")]:
        with pytest.raises(UsageError, match=message):
            row_masks(dataset, split, folds)


def test_best_single_and_cheapest_are_chosen_on_training_rows(folder):
    dataset = read_dataset(folder)
    outcomes = pool_outcomes(dataset, POOL)
    assert reference_models(outcomes.take(row_masks(dataset, "test", None)[1]), POOL) == (0, 1)  # a scores; b is cheap
    with pytest.raises(DataError, match="evaluate by --folds"):
        reference_models(outcomes.take(np.zeros(6, bool)), POOL)


def test_agreement_counts_canonical_names_only_and_other_never(folder):
    (folder / "annotations.jsonl").write_text(
        '{"query_id": "q0", "capabilities": ["coding"], "knowledge": ["Law"]}\n'
        '{"query_id": "q1", "capabilities": ["writing"], "knowledge": ["Contract Law"]}\n'
        '{"query_id": "q2", "capabilities": ["coding"], "knowledge": ["other"]}\n'
        '{"query_id": "q3", "capabilities": ["coding"], "knowledge": ["Law"], "annotator": "llm-b"}\n'
    )
    taxonomy = Taxonomy(("Law", "other"), {"Contract Law": "Law"})
    coding = np.eye(9)[[taxonomy.capabilities.index("coding")] * 4]
    knowledge = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]])
    rows = np.arange(4)
    agreement = first_label_agreement(read_dataset(folder), taxonomy, rows, coding, knowledge)
    assert agreement == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert first_label_agreement(read_dataset(folder), taxonomy, np.array([5]), coding, knowledge) == (None, None)


def test_a_language_is_no_first_capability_and_has_a_figure_of_its_own(folder):
    named = [["multilingual", "coding"], ["multilingual"], ["writing"], ["coding", "multilingual"]]
    (folder / "annotations.jsonl").write_text(
        "".join(
            f'{{"query_id": "q{i}", "capabilities": {json.dumps(each)}, "knowledge": ["Law"]}}\n'
            for i, each in enumerate(named)
        )
    )
    dataset, taxonomy, rows = read_dataset(folder), Taxonomy(("Law", "other"), {}), np.arange(4)
    capability = np.zeros((4, 9))
    columns = [taxonomy.capabilities.index(name) for name in ("multilingual", "coding", "writing")]
    capability[:, columns] = [[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.5, 0.3, 0.2], [0.04, 0.9, 0.06]]
    law = np.array([[0.9, 0.1]] * 4)
    assert first_label_agreement(dataset, taxonomy, rows, capability, law) == (pytest.approx(2 / 3), 1.0)
    assert multilingual_f1(dataset, taxonomy, rows, capability) == pytest.approx(2 * 2 / (3 + 3))
    assert multilingual_f1(dataset, taxonomy, rows[2:3], capability[3:]) is None
    assert multilingual_f1(dataset, taxonomy, np.array([5]), capability) is None


def test_a_prior_cannot_be_evaluated(folder):
    pool = Pool("p", (Candidate(ModelFacts("new", 1.0, 1.0), None),))
    with pytest.raises(PoolError, match="only models with a profile are evaluated"):
        pool_outcomes(read_dataset(folder), pool)


def test_a_pool_without_outcomes_in_the_folder_is_named(folder, tiny_router):
    with pytest.raises(DataError, match=r"has no rows of \["):
        evaluate_router(Router.from_pretrained(tiny_router), folder, split="test")
