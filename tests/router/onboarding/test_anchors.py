"""Which queries are to be graded: those that tell most, diverse, the same ones first whatever the number."""

from __future__ import annotations

import numpy as np
import pytest

from router.errors import UsageError
from router.onboarding.anchors import DRAWN, choose_anchors
from router.onboarding.profile_fit import ProfilePrior

QUERIES, FEATURES, CHOSEN = 120, 6, 25  # N, F, n


def make_prior(features: int = FEATURES, scale: float = 1.0, seed: int = 0) -> ProfilePrior:
    generator = np.random.default_rng(seed)
    factor = np.tril(generator.normal(0, 0.3, (features, features))) + scale * np.eye(features)
    return ProfilePrior(generator.normal(0, 0.3, features), factor, np.zeros((1, features)))


def make_queries(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(QUERIES, FEATURES))


def mean_variance(features: np.ndarray, prior: ProfilePrior, rows: np.ndarray) -> float:
    """Mean variance of the logits of all queries (N, F) once those of `rows` are graded, by plain linear algebra."""
    quality = 1 / (1 + np.exp(-features @ prior.mean))
    informative = features[rows] * np.sqrt(quality * (1 - quality))[rows, None]
    precision = np.linalg.inv(prior.factor @ prior.factor.T) + informative.T @ informative
    weight = quality * (1 - quality)
    return float((weight * np.einsum("ij,jk,ik->i", features, np.linalg.inv(precision), features)).mean())


@pytest.mark.parametrize("n", [1, 7, CHOSEN])
def test_a_shorter_list_is_the_beginning_of_a_longer_one(n):
    features, prior = make_queries(), make_prior()
    whole = choose_anchors(features, prior, QUERIES, seed=3)
    assert choose_anchors(features, prior, n, seed=3).tolist() == whole[:n].tolist()


def test_every_query_is_chosen_once_and_all_of_them_when_all_are_asked_for():
    rows = choose_anchors(make_queries(), make_prior(), QUERIES)
    assert sorted(rows.tolist()) == list(range(QUERIES))
    assert choose_anchors(make_queries()[:1], make_prior(), 1).tolist() == [0]


def test_the_seed_decides_and_nothing_else():
    features, prior = make_queries(), make_prior()
    first, again, other = (choose_anchors(features, prior, CHOSEN, seed).tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert choose_anchors(features, prior, CHOSEN).tolist() == first


@pytest.mark.parametrize("n", [0, -1, QUERIES + 1])
def test_a_number_beyond_the_queries_is_refused(n):
    message = rf"n must lie in 1 to {QUERIES}, the number of different queries, got {n}"
    with pytest.raises(UsageError, match=message):
        choose_anchors(make_queries(), make_prior(), n)


def test_few_queries_that_tell_much_are_taken_before_copies_of_one_that_tells_little():
    """Half of the queries are one query; each other one tells of a direction of its own."""
    features = np.zeros((2 * 15, 16))
    features[:15, 0] = 0.1
    features[15:, 1:] = np.eye(15)
    prior = ProfilePrior(np.zeros(16), np.eye(16), np.zeros((1, 16)))
    for seed in range(5):
        rows = choose_anchors(features, prior, 15, seed)
        same = int((rows < 15).sum())
        assert same <= 3  # by chance 7.5


def test_a_kind_of_query_that_is_frequent_is_asked_about_more_than_once():
    features = np.eye(4)[[0] * 60 + [1] * 20 + [2] * 20 + [3] * 20]
    prior = ProfilePrior(np.zeros(4), np.eye(4), np.zeros((1, 4)))
    kinds = features[choose_anchors(features, prior, 16)].sum(axis=0)
    assert (kinds > 0).all() and kinds.argmax() == 0


def test_queries_of_which_the_prior_is_sure_come_last():
    features = np.eye(2)[np.arange(40) % 2]
    prior = ProfilePrior(np.array([0.0, 9.0]), np.eye(2), np.zeros((1, 2)))  # any model answers the odd rows well
    rows = choose_anchors(features, prior, 20 - DRAWN)
    assert (rows % 2 == 0).all()
    closed = ProfilePrior(np.zeros(2), np.diag([1.0, 1e-6]), np.zeros((1, 2)))  # all models answer the odd rows alike
    assert (choose_anchors(features, closed, 20 - DRAWN) % 2 == 0).all()


def test_they_leave_less_unsure_than_queries_drawn_at_random():
    ours, random = [], []
    for seed in range(8):
        features, prior = make_queries(seed), make_prior(seed=seed)
        generator = np.random.default_rng(100 + seed)
        ours.append(mean_variance(features, prior, choose_anchors(features, prior, 10, seed)))
        random.append(
            np.mean([
                mean_variance(features, prior, generator.choice(QUERIES, 10, replace=False)) for _ in range(10)
            ])
        )  # fmt: skip
    assert np.mean(ours) < 0.9 * np.mean(random)
    assert sum(a < b for a, b in zip(ours, random, strict=True)) >= 7


def test_each_step_takes_what_leaves_least_unsure_of_those_drawn():
    """Against brute force, where all queries are drawn from at every step."""
    features, prior = make_queries()[:DRAWN], make_prior()
    chosen: list[int] = []
    for row in choose_anchors(features, prior, DRAWN - 1):
        left = [other for other in range(DRAWN) if other not in chosen]
        variance = {other: mean_variance(features, prior, np.array([*chosen, other])) for other in left}
        assert variance[int(row)] == pytest.approx(min(variance.values()))
        chosen.append(int(row))


def test_more_features_than_are_planned_for_still_give_a_list():
    features = np.random.default_rng(0).normal(size=(30, 100))
    rows = choose_anchors(features, make_prior(100), 12)
    assert len(set(rows.tolist())) == 12
