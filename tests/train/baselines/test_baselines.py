"""Every method on one planted task: topics that the embedding tells apart, each with a model of its own that knows it.

Axes: B, M, E, A = 240, 3, 8, 13 (9 capabilities, 4 domains).
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from router.network.taxonomy import CAPABILITIES
from train.baselines import neural
from train.baselines.closed_form import predicted_labels
from train.baselines.methods import METHODS, WITH_HOLES
from train.baselines.task import Outcomes, Queries, Task

TOPICS, MODELS, DOMAINS, WIDTH = 3, 3, 4, 8
COST_USD = np.array([4e-4, 1e-4, 2e-4])
KNOWS_THE_TRUTH = {"table-benchmark", "table-category"}
BLIND = {"random", "cheapest", "best-single", "constant"}
IGNORES_THE_SEED = set(METHODS) - {"random", "kmeans", "factorisation", "mirt", "carrot"}


def planted(rows, seed):
    """Queries of three topics and their outcomes: model t answers topic t in 95 of 100 cases, the others 1 in 4."""
    rng = np.random.default_rng(seed)
    topic = np.arange(rows) % TOPICS
    embedding = np.eye(WIDTH)[topic] + 0.1 * rng.normal(size=(rows, WIDTH))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    capability, domain = np.eye(len(CAPABILITIES))[topic], np.eye(DOMAINS)[topic]
    labels = np.concatenate([capability, domain], axis=1)
    labels[rng.random(rows) < 0.3] = np.nan
    name = np.array(["sums", "law", "verse"], object)[topic]
    chance = np.where(topic[:, None] == np.arange(MODELS), 0.95, 0.25)
    score = (rng.random((rows, MODELS)) < chance).astype(float)
    queries = Queries(embedding, rng.uniform(10, 90, rows), name, "exam/" + name, labels, labels)
    return queries, Outcomes(score, np.tile(COST_USD, (rows, 1)))


@pytest.fixture(scope="module", autouse=True)
def short_training():
    """The planted task needs no 1200 steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neural, "STEPS", (20, 80))
        yield


@pytest.fixture(scope="module")
def task():
    train, train_outcomes = planted(600, seed=0)
    val, val_outcomes = planted(240, seed=1)
    train, val = (
        replace(each, predicted_labels=predicted_labels(train.embedding, train.llm_labels, each.embedding))
        for each in (train, val)
    )
    best_single = int(train_outcomes.score.mean(axis=0).argmax())
    return Task(train, train_outcomes, val, val_outcomes, np.tile(COST_USD, (240, 1)), best_single, 1)


@pytest.fixture(scope="module")
def judged(task):
    queries, outcomes = planted(240, seed=2)
    labels = predicted_labels(task.train.embedding, task.train.llm_labels, queries.embedding)
    return replace(queries, predicted_labels=labels), outcomes


@pytest.fixture(scope="module")
def fitted(task):
    """Each method, fitted once with seed 3."""
    baselines = {name: method() for name, method in METHODS.items()}
    for baseline in baselines.values():
        baseline.fit(task, 3)
    return baselines


def test_methods_stand_in_the_order_of_reports():
    assert list(METHODS) == [
        *("random", "cheapest", "best-single", "constant", "table-benchmark", "table-category"),
        *("knn", "kmeans", "ridge", "factorisation", "mirt", "carrot"),
        *("closed-form-llm", "closed-form-predicted", "closed-form-capabilities", "closed-form-knowledge"),
        *("closed-form-alpha-0.25", "closed-form-alpha-1", "closed-form-beta-10", "closed-form-beta-100"),
    ]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_predicts_a_finite_quality_of_every_query_and_model(name, fitted, judged):
    quality = fitted[name].predict(judged[0])
    assert quality.shape == (240, MODELS)
    assert quality.dtype == np.float64
    assert np.isfinite(quality).all()


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_predictions(name, task, fitted, judged):
    again = METHODS[name]()
    again.fit(task, 3)
    np.testing.assert_array_equal(again.predict(judged[0]), fitted[name].predict(judged[0]))


@pytest.mark.parametrize("name", sorted(IGNORES_THE_SEED))
def test_methods_without_chance_ignore_the_seed(name, task, fitted, judged):
    other = METHODS[name]()
    other.fit(task, 4)
    np.testing.assert_array_equal(other.predict(judged[0]), fitted[name].predict(judged[0]))


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"random"}))  # its draws are those of a row of the batch
def test_a_prediction_does_not_depend_on_the_other_queries_of_the_batch(name, fitted, judged):
    queries = judged[0]
    alone = fitted[name].predict(queries.take(np.array([7])))
    np.testing.assert_allclose(alone[0], fitted[name].predict(queries)[7], atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(METHODS) - KNOWS_THE_TRUTH))
def test_only_the_tables_read_the_true_benchmark_and_category(name, fitted, judged):
    queries = judged[0]
    lied = replace(queries, benchmark=queries.benchmark[::-1], category=queries.category[::-1])
    np.testing.assert_array_equal(fitted[name].predict(lied), fitted[name].predict(queries))


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"closed-form-llm"}))
def test_only_one_method_reads_the_labels_that_the_llm_gave_the_judged_query(name, fitted, judged):
    queries = judged[0]
    unread = replace(queries, llm_labels=np.full_like(queries.llm_labels, np.nan))
    np.testing.assert_array_equal(fitted[name].predict(unread), fitted[name].predict(queries))


@pytest.mark.parametrize("name", sorted(set(METHODS) - BLIND))
def test_a_method_that_looks_at_the_query_beats_the_training_means(name, fitted, judged):
    queries, outcomes = judged
    rows = np.arange(240)
    constant = outcomes.score[rows, fitted["constant"].predict(queries).argmax(axis=1)].mean()
    ours = outcomes.score[rows, fitted[name].predict(queries).argmax(axis=1)].mean()
    assert constant < 0.6
    assert ours > constant + 0.15  # .95 where every label is known, less where three in ten have none


@pytest.mark.parametrize("name", sorted(BLIND))
def test_a_blind_method_does_not(name, fitted, judged):
    queries, outcomes = judged
    assert outcomes.score[np.arange(240), fitted[name].predict(queries).argmax(axis=1)].mean() < 0.6


@pytest.mark.parametrize("name", METHODS)
def test_a_dozen_training_queries_are_enough_to_fit(name, task, judged):
    few = np.arange(12)
    score, cost = task.train_outcomes.score[few], task.train_outcomes.cost_usd[few]
    baseline = METHODS[name]()
    baseline.fit(replace(task, train=task.train.take(few), train_outcomes=Outcomes(score, cost)), 0)
    assert np.isfinite(baseline.predict(judged[0])).all()


def test_training_a_network_leaves_the_global_random_state_alone(task):
    before = torch.random.get_rng_state()
    METHODS["carrot"]().fit(task, 0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", WITH_HOLES)
def test_where_scores_are_missing_each_model_is_learned_from_its_own_queries(name, task, judged):
    """Model 0 answered a third of the training queries and of the validation queries."""

    def thinned(outcomes):
        score = outcomes.score.copy()
        score[np.arange(len(score)) % 10 < 6, 0] = np.nan
        return replace(outcomes, score=score)

    holes = replace(task, train_outcomes=thinned(task.train_outcomes), val_outcomes=thinned(task.val_outcomes))
    baseline = METHODS[name]()
    baseline.fit(holes, 3)
    quality = baseline.predict(judged[0])
    assert np.isfinite(quality).all()
    if name not in BLIND:
        chosen = judged[1].score[np.arange(240), quality.argmax(axis=1)]
        assert chosen.mean() > 0.85
