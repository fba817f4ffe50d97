"""The first experiments: planted profiles come back, means by domain are means, budgets are met."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from router.evaluation.pool_report import PoolOutcomes, Predictions
from train.__main__ import main
from train.data_folders.synthetic.generate import plant
from train.studies.experiments.budget import within_budgets
from train.studies.experiments.ceiling import KNOWN, informed_quality
from train.studies.experiments.domains import domain_means, figures
from train.studies.experiments.planted import read_requirements
from train.studies.experiments.planted_profiles import (
    closed_form,
    draw_requirements,
    fitted,
    plant_profiles,
    posterior_mean,
    recovery,
    requirements_of,
)


def test_planted_profiles_are_recovered_and_not_from_requirements_that_are_wrong() -> None:
    rng = np.random.default_rng(0)
    planted = plant_profiles(draw_requirements(3000, rng), 12, graded=False, rng=rng)
    found = recovery(planted)
    assert found["judged_axes"] == 9 and min(found["answers"]) >= 50
    assert found["closed form"]["all"] > 0.95 and found["our fit"]["all"] > 0.95
    wrong = recovery(planted, read=np.roll(planted.requirement, 1, axis=0))
    assert wrong["our fit"]["all"] < 0.8


def test_the_posterior_mean_is_nearest_to_planted_profiles() -> None:
    rng = np.random.default_rng(1)
    planted = plant_profiles(draw_requirements(300, rng), 12, graded=False, rng=rng)
    error = {
        fit.__name__: float(np.square(fit(planted.requirement, planted.score) - planted.profile).mean())
        for fit in (closed_form, fitted, posterior_mean)
    }
    assert error["posterior_mean"] < error["fitted"] < error["closed_form"]
    prior_only = posterior_mean(np.zeros((1, 9)), np.ones((1, 200)))  # nothing was asked of any axis: the prior's mean
    assert prior_only.mean() == pytest.approx(0.6, abs=0.02)


def test_the_closed_form_is_the_weighted_mean_score_and_our_fit_takes_mixtures_apart() -> None:
    requirement = np.array([[1.0, 0.0], [2 / 3, 1 / 3]] * 400)
    score = requirement @ np.array([[0.8], [0.2]])
    assert closed_form(requirement, score)[0] == pytest.approx([(0.8 + 2 / 3 * 0.6) / (1 + 2 / 3), 0.6])
    assert fitted(requirement, score)[0] == pytest.approx([0.8, 0.22], abs=0.05)


def test_requirements_are_read_from_embeddings_that_hold_them() -> None:
    world = plant(400, seed=0)
    true = requirements_of(world)
    read = read_requirements(true + np.random.default_rng(0).normal(0, 0.05, true.shape), world)
    assert read.sum(axis=1) == pytest.approx(np.ones(400))
    assert (read.argmax(axis=1) == true.argmax(axis=1)).mean() > 0.9


def test_means_by_domain_are_those_of_its_queries_and_small_domains_are_left_out() -> None:
    domain = np.array(["law", "law", "art", "law", "art", "one"])
    predicted = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.4], [0.8, 0.2], [0.4, 0.6], [0.0, 0.0]])
    score = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    means = domain_means(domain, predicted, score, fewest=2)
    assert means.domains == ("art", "law") and means.queries.tolist() == [2, 3]
    assert means.predicted == pytest.approx(np.array([[0.3, 0.5], [0.8, 0.2]]))
    assert means.actual == pytest.approx(np.array([[0.5, 1.0], [2 / 3, 0.0]]))
    found = figures(means)
    assert found["of_models"] == pytest.approx(1.0) and found["cells"] == 4


def test_a_router_that_knows_nothing_of_models_by_domain_has_no_correlation_of_differences() -> None:
    rng = np.random.default_rng(0)
    domain = np.repeat([f"d{i}" for i in range(12)], 60)
    truth = np.repeat(rng.uniform(0.1, 0.9, (12, 5)), 60, axis=0)
    score = (rng.random(truth.shape) < truth).astype(float)
    informed = figures(domain_means(domain, truth, score))
    blind = figures(domain_means(domain, np.broadcast_to(truth.mean(axis=0), truth.shape), score))
    assert informed["of_models"] > 0.9 and informed["greatest"] == pytest.approx(informed["of_models"], abs=0.05)
    assert informed["error"] == pytest.approx(informed["noise"], rel=0.2)
    assert blind["of_models"] is None


def test_what_noise_leaves_possible_allows_for_queries_that_are_hard_for_all() -> None:
    """Models that fail on the same queries differ less by chance than independent ones: more of it can be predicted."""
    rng = np.random.default_rng(0)
    domain = np.repeat([f"d{i}" for i in range(12)], 60)
    truth = np.repeat(0.5 + rng.normal(0, 0.05, (12, 5)), 60, axis=0)
    shared = (rng.random((720, 1)) < truth).astype(float)
    apart = (rng.random(truth.shape) < truth).astype(float)
    together, single = (figures(domain_means(domain, truth, score)) for score in (shared, apart))
    assert together["greatest"] > single["greatest"]
    assert together["of_models"] == pytest.approx(together["greatest"], abs=0.1)


def test_budgets_are_met_on_predicted_cost_and_compared_at_the_cost_that_came_out() -> None:
    rng = np.random.default_rng(0)
    cost = np.tile([0.001, 0.01], (200, 1))
    quality = np.column_stack([rng.random(200), np.full(200, 0.9)])
    score = (rng.random((200, 2)) < quality).astype(float)
    outcomes = PoolOutcomes(np.arange(200), score, cost)
    sample: Any = SimpleNamespace(outcomes=outcomes, best_single=1, cheapest=0)
    predictions = Predictions(quality, cost, np.zeros((200, 1)), np.zeros((200, 1)))
    rows = within_budgets(predictions, sample, shares=(0.05, 0.1, 0.5, 1.0))
    assert rows[0]["cost"] is None  # half of what the cheapest model costs
    assert [row["cost"] <= row["budget"] + 1e-9 for row in rows[1:]] == [True] * 3
    assert rows[2]["score"] > rows[2]["zero"] and rows[2]["oracle"] >= rows[2]["score"]
    assert rows[3]["oracle"] >= rows[2]["oracle"]


def test_known_answers_help_as_far_as_they_say_something() -> None:
    rng = np.random.default_rng(0)
    kind = rng.random((4000, 1)) < 0.5  # the text does not know it
    truth = np.where(kind, [0.9, 0.2], [0.3, 0.8])
    score, others = ((rng.random((4000, 2)) < truth).astype(float) for _ in range(2))
    logit, judged = np.full((4000, 2), 0.2), np.arange(4000) < 1000

    def error(name: str) -> float:
        quality = informed_quality(logit, KNOWN[name](others), score, judged)
        return float(np.square(quality - truth[judged]).mean())

    assert error("and what each other answers") < 0.6 * error("the text")
    assert error("and how many others answer") == pytest.approx(error("the text"), rel=0.05)  # but not who they are


@pytest.mark.parametrize("name", ["domains", "budget"])
def test_a_checkpoint_is_judged_by_one_command(
    planted_checkpoint: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data, router = planted_checkpoint
    args = [str(router), "--data", str(data), "--queries", "40", "--json", str(tmp_path / "report.json")]
    assert main(["experiment", name, *args]) == 0
    assert "| planted |" in capsys.readouterr().out or name == "domains"
    assert json.loads((tmp_path / "report.json").read_text())["pools"]["planted"]["queries"] == 40


def test_the_planted_experiment_prints_a_table_and_refuses_what_cannot_be_judged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["experiment", "planted", "--queries", "300", "--models", "5", "--seeds", "1"]) == 0
    assert "| 300 | 0 or 1 | known |" in capsys.readouterr().out
    assert main(["experiment", "planted", "--queries", "20"]) == 2
    assert "--queries must be at least 50" in capsys.readouterr().err
    assert main(["experiment", "domains", "nowhere"]) == 1
    assert "train: error:" in capsys.readouterr().err
