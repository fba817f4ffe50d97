"""Profiles from few answers: against brute force, numerical derivatives and rows that were planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from router.onboarding.profile_fit import (
    LENGTH_STRENGTH,
    OWN_VARIANCE,
    PENALTIES,
    FittedProfile,
    ProfilePrior,
    fit_length,
    fit_prior,
    fit_profile,
    leading,
)

KNOWN, ANSWERS, FEATURES, SIDE = 7, 40, 4, 2  # N, n, F, X
NOTHING = np.zeros(0)


def make_prior(seed: int = 0, features: int = FEATURES) -> ProfilePrior:
    """A prior with a mean and a correlated covariance."""
    generator = np.random.default_rng(seed)
    factor = np.tril(generator.normal(0, 0.5, (features, features))) + np.eye(features)
    return ProfilePrior(generator.normal(0, 0.5, features), factor, np.zeros((1, features)))


def make_answers(row: np.ndarray, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Query features (n, F) and scores (n,), 0 or 1, of a model with this row."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, len(row)))
    return features, (generator.random(n) < 1 / (1 + np.exp(-features @ row))).astype(float)


def covariance(fitted: FittedProfile | ProfilePrior) -> np.ndarray:
    return fitted.factor @ fitted.factor.T


def loss(row: np.ndarray, features: np.ndarray, score: np.ndarray, prior: ProfilePrior) -> float:
    """What a fit makes least, written down anew: minus the log of likelihood and prior, up to a constant."""
    logit, moved = features @ row, row - prior.mean
    return float((np.logaddexp(0, logit) - score * logit).sum() + moved @ np.linalg.solve(covariance(prior), moved) / 2)


def slope(row: np.ndarray, *data: object, step: float = 1e-5) -> np.ndarray:
    """Numerical gradient (F,) of `loss`."""
    steps = step * np.eye(len(row))
    return np.array([(loss(row + each, *data) - loss(row - each, *data)) / (2 * step) for each in steps])  # type: ignore[arg-type]


# The posterior


def test_without_answers_the_posterior_is_the_prior():
    prior = make_prior()
    fitted = fit_profile(np.zeros((0, FEATURES)), NOTHING, prior)
    assert fitted.row.tolist() == prior.mean.tolist()
    assert covariance(fitted) == pytest.approx(covariance(prior))
    assert fitted.log_evidence == 0


def test_many_answers_recover_the_row_they_were_drawn_from_wherever_the_prior_is():
    row = np.array([1.5, -1.0, 0.5, 0.0])
    features, score = make_answers(row, 20_000)
    for seed in range(3):
        assert fit_profile(features, score, make_prior(seed)).row == pytest.approx(row, abs=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_the_row_found_is_where_the_posterior_is_greatest_and_its_covariance_the_inverse_curvature(seed):
    prior = make_prior(seed)
    features, score = make_answers(np.array([1.0, -2.0, 0.0, 0.5]), ANSWERS, seed)
    fitted = fit_profile(features, score, prior)
    data = (features, score, prior)
    assert np.abs(slope(fitted.row, *data)).max() < 1e-5
    assert loss(fitted.row, *data) == pytest.approx(minimize(loss, prior.mean, data).fun, abs=1e-7)
    quality = 1 / (1 + np.exp(-features @ fitted.row))
    curvature = (features * (quality * (1 - quality))[:, None]).T @ features + np.linalg.inv(covariance(prior))
    assert covariance(fitted) == pytest.approx(np.linalg.inv(curvature))


def test_the_evidence_is_laplaces_and_near_the_integral():
    prior = ProfilePrior(np.array([0.3]), np.array([[0.8]]), np.zeros((1, 1)))
    features, score = make_answers(np.array([0.5]), 12)
    grid = np.linspace(-6, 6, 4001)
    density = [np.exp(-loss(np.array([x]), features, score, prior)) / (0.8 * np.sqrt(2 * np.pi)) for x in grid]
    exact = np.log(np.sum(density) * (grid[1] - grid[0]))
    assert fit_profile(features, score, prior).log_evidence == pytest.approx(exact, abs=0.03)


def test_the_evidence_tells_the_prior_that_the_answers_were_drawn_from():
    near, far = (ProfilePrior(np.full(FEATURES, mean), 0.3 * np.eye(FEATURES), np.zeros((1, 4))) for mean in (1, -1))
    features, score = make_answers(np.ones(FEATURES), ANSWERS)
    assert fit_profile(features, score, near).log_evidence > fit_profile(features, score, far).log_evidence + 5


def test_an_answer_that_weighs_two_is_the_answer_twice():
    prior = make_prior()
    features, score = make_answers(np.ones(FEATURES), ANSWERS)
    weight = np.where(np.arange(ANSWERS) < 10, 2.0, 1.0)
    weighed = fit_profile(features, score, prior, weight)
    twice = fit_profile(np.concatenate([features, features[:10]]), np.concatenate([score, score[:10]]), prior)
    assert weighed.row == pytest.approx(twice.row, abs=1e-8)
    assert covariance(weighed) == pytest.approx(covariance(twice), abs=1e-8)
    assert weighed.log_evidence == pytest.approx(twice.log_evidence)
    assert fit_profile(features, score, prior, np.zeros(ANSWERS)).row == pytest.approx(prior.mean)


def test_a_soft_score_is_a_good_and_a_bad_answer_in_parts():
    prior, features = make_prior(), make_answers(np.ones(FEATURES), 3)[0]
    soft = fit_profile(features, np.array([0.25, 0.5, 1.0]), prior)
    parts = fit_profile(
        np.concatenate([features, features]),
        np.array([1.0, 1, 1, 0, 0, 0]),
        prior,
        np.array([0.25, 0.5, 1, 0.75, 0.5, 0]),
    )
    assert soft.row == pytest.approx(parts.row, abs=1e-8)
    assert covariance(soft) == pytest.approx(covariance(parts), abs=1e-8)


def test_the_order_of_the_answers_does_not_count():
    prior = make_prior()
    features, score = make_answers(np.ones(FEATURES), ANSWERS)
    order = np.random.default_rng(1).permutation(ANSWERS)
    back, forth = fit_profile(features[order], score[order], prior), fit_profile(features, score, prior)
    assert back.row == pytest.approx(forth.row, abs=1e-8)


def test_the_more_answers_the_surer_in_every_direction_and_never_less_sure_than_the_prior():
    prior, row = make_prior(), np.array([0.5, -0.5, 0.2, 0.0])
    features, score = make_answers(row, 1000)
    found = [covariance(fit_profile(features[:n], score[:n], prior)) for n in (0, 10, 100, 1000)]
    traces = [float(np.trace(each)) for each in found]
    assert traces == sorted(traces, reverse=True) and traces[-1] < traces[0] / 20
    for each in found[1:]:
        assert np.linalg.eigvalsh(found[0] - each).min() > -1e-9


@pytest.mark.parametrize("score", [0.0, 1.0])
@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_five_hundred_answers_all_good_or_all_bad_still_give_a_finite_optimum(score, scale):
    prior = ProfilePrior(np.zeros(FEATURES), scale * np.eye(FEATURES), np.zeros((1, FEATURES)))
    features = np.abs(np.random.default_rng(0).normal(size=(500, FEATURES)))
    fitted = fit_profile(features, np.full(500, score), prior)
    assert np.isfinite(fitted.row).all() and np.isfinite(fitted.factor).all() and np.isfinite(fitted.log_evidence)
    assert (np.sign(fitted.row) == (1 if score else -1)).all()
    data = (features, np.full(500, score), prior)
    assert np.abs(slope(fitted.row, *data)).max() < 1e-4


@pytest.mark.parametrize("sure", [20.0, 60.0, 500.0])
def test_a_prior_that_is_sure_of_the_wrong_thing_is_overcome_by_answers(sure):
    """Its logits lie where probabilities are flat: a whole Newton step goes astray there."""
    prior = ProfilePrior(np.array([sure]), np.array([[10.0]]), np.zeros((1, 1)))
    features, score = np.ones((200, 1)), np.repeat([0.0, 1.0], 100)
    fitted = fit_profile(features, score, prior)
    best = minimize(lambda row: loss(row, features, score, prior), np.zeros(1)).x
    assert fitted.row == pytest.approx(best, abs=1e-3)


# The prior


def brute_force(rows: np.ndarray, side: np.ndarray, penalty: float) -> np.ndarray:
    """By how much each row (N, F) is missed by a ridge on side information (intercept free) fitted to the others."""
    standard = (side - side.mean(axis=0)) / side.std(axis=0)
    design = np.concatenate([standard, np.ones((len(rows), 1))], axis=1)
    ridge = penalty * np.diag([1.0] * side.shape[1] + [0.0])
    missed = []
    for left in range(len(rows)):
        kept = np.arange(len(rows)) != left
        found = np.linalg.solve(design[kept].T @ design[kept] + ridge, design[kept].T @ rows[kept])
        missed.append(rows[left] - design[left] @ found)
    return np.array(missed)


def known_rows(seed: int, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, F) that hang on side information (N, X), and that."""
    generator = np.random.default_rng(seed)
    side = generator.normal(3, 2, (KNOWN, SIDE))
    return side @ generator.normal(size=(SIDE, FEATURES)) + generator.normal(0, noise, (KNOWN, FEATURES)), side


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.1, 3.0])
def test_what_is_missed_of_a_row_is_what_a_fit_without_it_misses_at_the_penalty_that_misses_least(seed, noise):
    rows, side = known_rows(seed, noise)
    tried = [rows - (rows.sum(axis=0) - rows) / (KNOWN - 1)]  # no side information: the mean of the others
    tried += [brute_force(rows, side, penalty) for penalty in PENALTIES]
    best = min(tried, key=lambda missed: float(np.square(missed).sum()))
    prior = fit_prior(rows, side, side[0])
    assert prior.left_out == pytest.approx(best)
    expected = (best.T @ best + OWN_VARIANCE * np.eye(FEATURES)) / (KNOWN + 1)
    assert covariance(prior) == pytest.approx(expected)
    assert (np.triu(prior.factor, 1) == 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_is_what_the_ridge_of_the_least_missing_penalty_says(seed):
    rows, side = known_rows(seed)
    penalty = min(PENALTIES, key=lambda each: float(np.square(brute_force(rows, side, each)).sum()))
    own = np.array([5.0, -1.0])
    standard, mine = ((each - side.mean(axis=0)) / side.std(axis=0) for each in (side, own))
    weights = np.linalg.solve(standard.T @ standard + penalty * np.eye(SIDE), standard.T @ (rows - rows.mean(axis=0)))
    assert fit_prior(rows, side, own).mean == pytest.approx(rows.mean(axis=0) + mine @ weights)


def test_without_side_information_the_mean_of_the_rows_is_expected():
    rows = known_rows(0)[0]
    prior = fit_prior(rows, np.zeros((KNOWN, 0)), NOTHING)
    assert prior.mean == pytest.approx(rows.mean(axis=0))
    assert prior.left_out == pytest.approx((rows - rows.mean(axis=0)) * KNOWN / (KNOWN - 1))


def test_side_information_that_tells_all_predicts_a_left_out_row_far_better_than_the_mean():
    rows, side = known_rows(1, noise=0.0)
    by_side, by_mean = 0.0, 0.0
    for left in range(KNOWN):
        kept = np.arange(KNOWN) != left
        by_side += np.square(fit_prior(rows[kept], side[kept], side[left]).mean - rows[left]).sum()
        by_mean += np.square(rows[kept].mean(axis=0) - rows[left]).sum()
    assert by_side < by_mean / 10
    blind = fit_prior(rows, np.zeros((KNOWN, 0)), NOTHING)
    assert np.trace(covariance(fit_prior(rows, side, side[0]))) < np.trace(covariance(blind)) / 10


@pytest.mark.parametrize("value", [0.0, 4.59511985013459, -0.1])
def test_side_information_that_is_the_same_for_all_tells_nothing_however_far_the_new_one_is(value):
    rows = known_rows(0)[0]
    prior = fit_prior(rows, np.full((KNOWN, 1), value), np.array([-3.0]))
    assert prior.mean == pytest.approx(rows.mean(axis=0), abs=1e-6)


def test_the_unit_of_side_information_does_not_count():
    rows, side = known_rows(2)
    plain, scaled = fit_prior(rows, side, side[3] + 1), fit_prior(rows, 1000 * side - 7, 1000 * (side[3] + 1) - 7)
    assert scaled.mean == pytest.approx(plain.mean)
    assert covariance(scaled) == pytest.approx(covariance(plain))


@pytest.mark.parametrize("side", [0, 1])
def test_a_lone_known_row_is_what_is_expected_and_no_direction_is_closed(side):
    row = np.array([[1.0, -2.0, 0.5]])
    prior = fit_prior(row, np.ones((1, side)), np.full(side, 2.0))
    assert prior.mean == pytest.approx(row[0])
    assert covariance(prior) == pytest.approx(OWN_VARIANCE / 2 * np.eye(3))
    features, score = make_answers(np.zeros(3), ANSWERS)
    assert np.isfinite(fit_profile(features, score, prior).row).all()


# Factors and lengths


@pytest.mark.parametrize("rank", [FEATURES, FEATURES + 3])
def test_a_full_factor_keeps_the_covariance(rank):
    factor = make_prior().factor
    found = leading(factor, rank)
    assert found.shape == (FEATURES, rank)
    assert found @ found.T == pytest.approx(factor @ factor.T)


def test_a_lesser_factor_leaves_out_the_least_variances_and_only_them():
    factor = make_prior().factor
    variances = np.sort(np.linalg.eigvalsh(factor @ factor.T))
    found = leading(factor, 2)
    left = np.sort(np.linalg.eigvalsh(factor @ factor.T - found @ found.T))
    assert left == pytest.approx([0.0, 0.0, *variances[:2]], abs=1e-9)


def test_many_measured_answers_make_predicted_and_measured_totals_agree():
    generator = np.random.default_rng(0)
    log_length = generator.normal(0, 1, 4000)
    tokens = np.exp(log_length + generator.normal(5, 0.5, 4000))
    found = fit_length(log_length, tokens, prior=0.0)
    assert np.exp(log_length + found).sum() == pytest.approx(tokens.sum(), rel=0.02)


def test_lengths_that_are_unknown_do_not_count():
    log_length, tokens = np.array([0.0, 5.0, 0.0]), np.array([100.0, np.nan, 300.0])
    known = fit_length(log_length[[0, 2]], tokens[[0, 2]], prior=3.0)
    assert fit_length(log_length, tokens, prior=3.0) == known
    assert known == pytest.approx((2 * np.log(200) + LENGTH_STRENGTH * 3) / (2 + LENGTH_STRENGTH))


@pytest.mark.parametrize("tokens", [[], [np.nan, np.nan], [0.0, 0.0], [np.nan, 0.0]])
def test_without_a_token_the_length_is_the_priors(tokens):
    assert fit_length(np.zeros(len(tokens)), np.array(tokens), prior=4.2) == 4.2
