"""What a few answers are worth, by hand."""

import numpy as np
import pytest

from router.arrays import clipped_sigmoid
from router.onboarding.profile_fit import ProfilePrior
from train.studies.onboarding_pool import Subject, anchored, curve_height, log_loss, onboarded

N, F = 60, 3
JUDGED = slice(50, 60)


@pytest.fixture
def subject() -> Subject:
    generator = np.random.default_rng(0)
    features = np.column_stack([generator.normal(size=(N, F - 1)), np.ones(N)])
    truth = clipped_sigmoid(features @ np.array([2.0, -1.0, 0.5]))
    return Subject(
        features,
        (generator.random(N) < truth).astype(float),
        np.full(N, 80.0),
        np.zeros(N),
        ProfilePrior(np.zeros(F), 2 * np.eye(F), np.zeros((1, F))),
        0.0,
        np.arange(40),
    )


def test_forty_answers_beat_the_prior_and_teach_the_length(subject: Subject) -> None:
    quality, length = onboarded(subject, subject.train)
    before = log_loss(np.full(10, 0.5), subject.score[JUDGED])
    assert log_loss(quality[JUDGED], subject.score[JUDGED]) < before
    assert 0.85 * np.log(80) < length < np.log(80)  # drawn to the prior of 1 token


def test_anchors_are_training_rows_each_once(subject: Subject) -> None:
    rows = anchored(subject, 12, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 12 and set(rows.tolist()) <= set(range(40))


def test_a_curve_without_its_dear_model_is_flat_at_the_cheap_one() -> None:
    score = np.array([[0.0, 1.0], [0.0, 1.0]])
    cost = np.array([[1.0, 3.0], [1.0, 3.0]])
    both = curve_height(np.array([[0.1, 0.9]] * 2), cost, score, cost, 1.0, 3.0)
    assert both == pytest.approx(0.5)  # from (1, 0) to (3, 1)
    assert curve_height(np.array([[0.1, -1e12]] * 2), cost, score, cost, 1.0, 3.0) == 0.0
