"""Folds on the command line, and held-out predictions."""

import argparse

import numpy as np
import pytest

from router.errors import DataError, UsageError
from router.evaluation.dataset import read_dataset
from router.evaluation.pool_report import pool_outcomes, predict
from router.routing.router import Router
from train.studies.inputs import apart, folds, held_out


@pytest.mark.parametrize("text", ["", "10", "7,", "a", "7;8", "-1"])
def test_what_are_no_folds_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="whole numbers from 0 to 9"):
        folds(text)


def test_no_fold_both_chooses_and_judges():
    assert apart([7], [8, 9]) == ([7], [8, 9])
    with pytest.raises(UsageError, match=r"folds \[7\] choose and folds \[7, 8\] judge"):
        apart([7], [7, 8])


def test_predictions_are_the_routers_own_next_to_the_outcomes_and_embeddings_are_cached(planted_checkpoint, tmp_path):
    router, dataset = (
        Router.from_pretrained(planted_checkpoint[1], backend="torch"),
        read_dataset(planted_checkpoint[0]),
    )
    pool = router.pool()
    held = held_out(router, dataset, pool, [7], tmp_path / "cache")
    rows = np.flatnonzero(dataset.queries["fold"] == 7)
    predicted = predict(router, dataset.queries["text"].to_numpy()[rows].tolist(), pool)
    np.testing.assert_allclose(held.quality, predicted.quality, atol=1e-5)
    np.testing.assert_allclose(held.cost, predicted.cost_usd, rtol=1e-4)
    outcomes = pool_outcomes(dataset, pool)
    assert held.score.tolist() == outcomes.score[np.isin(outcomes.rows, rows)].tolist()
    training = dataset.queries["fold"].to_numpy()[outcomes.rows] < 7
    assert held.best_single == outcomes.score[training].mean(axis=0).argmax()
    assert len(list((tmp_path / "cache").iterdir())) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(router.encoder, "encode", None)  # a second time nothing is encoded
        assert held_out(router, dataset, pool, [7], tmp_path / "cache").logits.tolist() == held.logits.tolist()


def test_folds_without_queries_are_an_error(planted_checkpoint, tmp_path):
    router, dataset = (
        Router.from_pretrained(planted_checkpoint[1], backend="torch"),
        read_dataset(planted_checkpoint[0]),
    )
    dataset.queries["fold"] = 0
    with pytest.raises(DataError, match=r"no query of folds \[7\] has a score of every member of pool 'planted'"):
        held_out(router, dataset, router.pool(), [7], tmp_path)
