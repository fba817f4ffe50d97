"""Regressions where the matrix of outcomes has holes, the mean of baselines, and the choice of a setting with holes."""

from dataclasses import replace

import numpy as np
import pytest

from train.baselines.neighbours import NearestNeighbours
from train.baselines.regression import ExtraTrees, RidgeScores
from train.baselines.selection import MeanOf, choose
from train.baselines.task import Outcomes, Queries, Task

N, B, M, E = 60, 5, 4, 3
NAN = float("nan")


def queries(rows, seed):
    rng = np.random.default_rng(seed)
    name, nothing, text = np.full(rows, "exam", object), np.full((rows, 2), NAN), np.full(rows, "why?", object)
    return Queries(rng.normal(size=(rows, E)), np.ones(rows), name, name, nothing, nothing, text)


def task(score):
    outcomes, train = Outcomes(score, np.ones((N, M))), queries(N, 0)
    return Task(train, outcomes, train, outcomes, np.ones((N, M)), best_single=0, cheapest=1)


@pytest.fixture
def full():
    return np.random.default_rng(1).random((N, M))


@pytest.mark.parametrize("build", [lambda: RidgeScores(2.0), lambda: NearestNeighbours(7)])
def test_a_hole_costs_no_other_model_a_row_and_is_not_imputed(build, full):
    holed = full.copy()
    holed[:25, 1], holed[10:30, 3] = NAN, NAN
    asked, (with_holes, whole) = queries(B, 2), (build(), build())
    with_holes.fit(task(holed), 0)
    whole.fit(task(full), 0)
    found, expected = with_holes.predict(asked), whole.predict(asked)
    assert np.allclose(found[:, [0, 2]], expected[:, [0, 2]])
    alone = task(full)
    later = replace(alone, train=alone.train.take(np.arange(25, N)), train_outcomes=Outcomes(full[25:], full[25:]))
    whole.fit(later, 0)
    assert np.allclose(found[:, 1], whole.predict(asked)[:, 1])


def test_models_measured_on_the_same_rows_share_their_trees(full):
    full[:20, [1, 3]] = NAN
    trees = ExtraTrees()
    trees.fit(task(full), 0)
    assert [columns.tolist() for columns, _ in trees.fitted] == [[1, 3], [0, 2]]


def test_the_mean_of_baselines_is_the_mean_of_their_qualities(full):
    members = RidgeScores(2.0), NearestNeighbours(7), RidgeScores(50.0)
    mean = MeanOf(*members)
    mean.fit(task(full), 0)
    asked = queries(B, 2)
    assert np.allclose(mean.predict(asked), sum(member.predict(asked) for member in members) / 3)


def test_with_holes_in_validation_the_setting_of_least_squared_error_is_chosen(full):
    world = task(full)
    judged = np.full((N, M), NAN)  # only two models are measured
    ridge = RidgeScores(3.0)
    ridge.fit(world, 0)
    judged[:, :2] = ridge.predict(world.val)[:, :2]
    chosen = choose((300.0, 3.0, 30.0), RidgeScores, replace(world, val_outcomes=Outcomes(judged, judged)))
    assert chosen.alpha == 3.0
