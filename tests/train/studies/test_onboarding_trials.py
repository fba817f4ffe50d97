"""What a few answers are worth: each way to use them, by hand or against a longer computation."""

from dataclasses import replace

import numpy as np
import pytest

from router.arrays import clipped_sigmoid
from router.onboarding.profile_fit import ProfilePrior
from train.studies.onboarding_trials import (
    NEIGHBOURS,
    Subject,
    anchored,
    curve_height,
    linear_head,
    log_loss,
    nearest,
    onboarded,
    tuned,
)

N, F, E = 60, 3, 4


@pytest.fixture
def subject() -> Subject:
    generator = np.random.default_rng(0)
    features = np.column_stack([generator.normal(size=(N, F - 1)), np.ones(N)])
    truth = clipped_sigmoid(features @ np.array([2.0, -1.0, 0.5]))
    embedding = generator.normal(size=(N, E))
    return Subject(
        features,
        embedding / np.sqrt(np.square(embedding).sum(axis=1).mean()),
        (generator.random(N) < truth).astype(float),
        np.full(N, 80.0),
        np.zeros(N),
        ProfilePrior(np.zeros(F), 2 * np.eye(F), np.zeros((1, F))),
        0.0,
        truth,
        np.arange(40),
        np.arange(40, 50),
        np.arange(50, 60),
    )


def test_forty_answers_beat_the_prior_and_teach_the_length(subject: Subject) -> None:
    quality, length = onboarded(subject, subject.train)
    before = log_loss(np.full(10, 0.5), subject.score[subject.judged])
    assert log_loss(quality[subject.judged], subject.score[subject.judged]) < before
    assert 0.85 * np.log(80) < length < np.log(80)  # drawn to the prior of 1 token


def test_the_nearest_answers_count_and_one_of_the_mean(subject: Subject) -> None:
    line = replace(subject, embedding=np.arange(N)[:, None] * np.ones((1, E)), score=np.arange(N) % 2.0)
    found = nearest(line, np.array([0, 1, 2, 3]), np.array([50]), 2)  # 3 and 2 are nearest, mean .5
    assert found.tolist() == [(1 + 0 + 0.5) / 3]
    assert nearest(line, np.array([1, 3]), np.array([50, 51]), 40).tolist() == [1.0, 1.0]


def test_a_linear_head_is_the_penalised_regression_on_all_embedding_numbers(subject: Subject) -> None:
    rows, wanted, precision = subject.train, subject.judged, 3.0
    found = linear_head(subject, rows, wanted, precision)
    weight, bias = np.zeros(E), 0.0
    for _ in range(20000):  # plain gradient descent on the primal problem
        missed = clipped_sigmoid(subject.embedding[rows] @ weight + bias) - subject.score[rows]
        weight -= 0.02 * (subject.embedding[rows].T @ missed + precision * weight)
        bias -= 0.02 * (missed.sum() + 0.01 * bias)
    np.testing.assert_allclose(found, clipped_sigmoid(subject.embedding[wanted] @ weight + bias), atol=1e-4)


def test_a_setting_is_tuned_on_rows_that_neither_teach_nor_judge(subject: Subject) -> None:
    seen = []

    def way(subject, rows, wanted, value):
        seen.append((set(rows.tolist()), wanted.tolist()))
        return np.full(len(wanted), value)

    best = tuned(way, (0.1, 0.5, 0.9), [replace(subject, score=np.full(N, 0.9))], 5, np.random.default_rng(0))
    assert best == 0.9
    assert all(rows <= set(range(40)) and wanted == list(range(40, 50)) for rows, wanted in seen)
    assert all(value >= 1 for value in NEIGHBOURS)


def test_anchors_are_training_rows_each_once(subject: Subject) -> None:
    rows = anchored(subject, 12, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 12 and set(rows.tolist()) <= set(range(40))


def test_a_curve_without_its_dear_model_is_flat_at_the_cheap_one() -> None:
    score = np.array([[0.0, 1.0], [0.0, 1.0]])
    cost = np.array([[1.0, 3.0], [1.0, 3.0]])
    both = curve_height(np.array([[0.1, 0.9]] * 2), cost, score, cost, 1.0, 3.0)
    assert both == pytest.approx(0.5)  # from (1, 0) to (3, 1)
    assert curve_height(np.array([[0.1, -1e12]] * 2), cost, score, cost, 1.0, 3.0) == 0.0
