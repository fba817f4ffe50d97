"""Simple baselines, choice by AIQ, answer lengths, labels and oracles, recomputed by hand on a few rows."""

import numpy as np
import pytest

from router.errors import DataError
from router.network.taxonomy import CAPABILITIES
from train.baselines.closed_form import ClosedFormProfiles, predicted_labels
from train.baselines.cost import FEWEST, AnswerLengths
from train.baselines.neighbours import PSEUDO_COUNT, ClusterMeans, NearestNeighbours
from train.baselines.oracle import guess_corrected_oracle, oracle
from train.baselines.regression import RidgeScores
from train.baselines.selection import Tuned, choose
from train.baselines.tables import MeansTable, RandomQuality, SingleModel, TrainingMeans
from train.baselines.task import Outcomes, Queries, Task

NAN = float("nan")
AXES = len(CAPABILITIES) + 2
SCORE = np.array([[1.0, 0.0], [0.5, 0.0], [0.0, 1.0], [0.5, 1.0]])
COST_USD = np.array([[1.0, 3.0]] * 4)
EMBEDDING = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])


def queries(embedding, names=None, labels=None):
    rows = len(embedding)
    category = np.array(names or ["exam/law"] * rows, object)
    benchmark = np.array([name.partition("/")[0] for name in category], object)
    labels = np.full((rows, AXES), NAN) if labels is None else labels
    text = np.full(rows, "why?", object)
    return Queries(np.asarray(embedding, float), np.ones(rows), benchmark, category, labels, labels, text)


def task(train, val=None):
    """Four training rows with SCORE; validated on themselves."""
    outcomes = Outcomes(SCORE, COST_USD)
    return Task(train, outcomes, val or train, outcomes, COST_USD, best_single=1, cheapest=0)


def predicted(baseline, train, asked):
    baseline.fit(task(train), 0)
    return baseline.predict(asked).tolist()


ANYTHING = queries([[1.0, 0.0], [0.0, 1.0]])


def test_training_means_are_the_same_for_every_query():
    assert predicted(TrainingMeans(), queries(EMBEDDING), ANYTHING) == [[0.5, 0.5], [0.5, 0.5]]


def test_a_single_model_has_its_training_mean_and_the_others_nothing():
    assert predicted(SingleModel("cheapest"), queries(EMBEDDING), ANYTHING) == [[0.5, 0.0]] * 2
    assert predicted(SingleModel("best_single"), queries(EMBEDDING), ANYTHING) == [[0.0, 0.5]] * 2


def test_random_qualities_spread_over_the_unit_interval_and_change_with_the_seed():
    asked = queries(np.zeros((2000, 2)))
    first, second = RandomQuality(), RandomQuality()
    first.fit(task(queries(EMBEDDING)), 0)
    second.fit(task(queries(EMBEDDING)), 1)
    quality = first.predict(asked)
    assert 0 <= quality.min() < 0.01 < 0.99 < quality.max() <= 1
    assert quality.argmax(axis=1).mean() == pytest.approx(0.5, abs=0.05)
    assert not np.array_equal(quality, second.predict(asked))


def test_a_table_falls_back_from_the_category_to_the_benchmark_to_the_pool():
    train = queries(EMBEDDING, ["exam/law", "exam/law", "exam/art", "quiz/art"])
    asked = queries(np.zeros((3, 2)), ["exam/law", "exam/sport", "other/law"])
    by_category = predicted(MeansTable("category"), train, asked)
    assert by_category[0] == [0.75, 0.0]
    assert by_category[1] == pytest.approx([0.5, 1 / 3])  # the three rows of exam
    assert by_category[2] == [0.5, 0.5]


def test_a_table_by_benchmark_does_not_look_at_the_category():
    train = queries(EMBEDDING, ["exam/law", "exam/law", "exam/art", "quiz/art"])
    asked = queries(np.zeros((2, 2)), ["exam/art", "quiz/law"])
    assert np.allclose(predicted(MeansTable("benchmark"), train, asked), [[0.5, 1 / 3], [0.5, 1.0]])


def test_neighbours_are_those_of_greatest_cosine_whatever_their_length():
    train = queries([[5.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    asked = queries([[1.0, 0.0], [0.0, 0.1]])
    assert predicted(NearestNeighbours(2), train, asked) == [[0.75, 0.0], [0.25, 1.0]]


def test_more_neighbours_than_training_queries_are_all_of_them():
    assert predicted(NearestNeighbours(99), queries(EMBEDDING), ANYTHING) == [[0.5, 0.5]] * 2


def test_cluster_means_are_shrunk_to_the_mean_of_the_pool():
    train = queries([[1.0, 0.0], [0.99, 0.01], [0.0, 1.0], [0.01, 0.99]])
    found = predicted(ClusterMeans(2), train, ANYTHING)
    pool = PSEUDO_COUNT * 0.5
    first = [(1.5 + pool) / (2 + PSEUDO_COUNT), (0.0 + pool) / (2 + PSEUDO_COUNT)]
    second = [(0.5 + pool) / (2 + PSEUDO_COUNT), (2.0 + pool) / (2 + PSEUDO_COUNT)]
    assert np.allclose(found, [first, second])


def test_ridge_shrinks_the_slope_by_its_penalty():
    train = queries([[-1.0], [-1.0], [1.0], [1.0]])
    # centred scores of the models against x: sums of x y are -1 and 2, of x x 4; the slope is sum / (4 + alpha)
    assert np.allclose(predicted(RidgeScores(6.0), train, queries([[1.0]])), [[0.5 - 0.1, 0.5 + 0.2]])


def one_hot(*columns):
    labels = np.zeros((len(columns), AXES))
    for row, (capability, domain) in enumerate(columns):
        labels[row, [capability, len(CAPABILITIES) + domain]] = 1
    return labels


def test_the_closed_form_adds_halves_of_capability_and_domain():
    labels = one_hot((0, 0), (0, 1), (1, 1), (1, 0))
    labels[3] = NAN  # not annotated: its scores count in no profile
    train = queries(EMBEDDING, labels=labels)
    asked = queries(np.zeros((1, 2)), labels=one_hot((0, 1)))
    both = [(0.75 + 0.25) / 2, (0.0 + 0.5) / 2]  # capability 0: rows 0 and 1; domain 1: rows 1 and 2
    assert predicted(ClosedFormProfiles("predicted"), train, asked) == [both]
    assert predicted(ClosedFormProfiles("predicted", "capabilities"), train, asked) == [[0.75, 0.0]]
    assert predicted(ClosedFormProfiles("predicted", "knowledge"), train, asked) == [[0.25, 0.5]]


def test_the_closed_form_charges_cost_at_beta():
    train = queries(EMBEDDING, labels=one_hot((0, 0), (0, 0), (0, 0), (0, 0)))
    asked = queries(np.zeros((1, 2)), labels=one_hot((0, 0)))
    assert np.allclose(predicted(ClosedFormProfiles("llm", beta=0.1), train, asked), [[0.5 - 0.1, 0.5 - 0.3]])


@pytest.mark.parametrize(("alpha", "first"), [(0.25, 0.8), (0.5, 2 / 3), (1.0, 0.5)])
def test_the_closed_form_decays_with_the_rank_by_alpha(alpha, first):
    labels = one_hot((0, 0), (0, 0), (0, 1), (0, 1))
    labels[0, len(CAPABILITIES) : len(CAPABILITIES) + 2] = (2 / 3, 1 / 3)  # domain 0 first, then 1
    train = queries(EMBEDDING, labels=labels)
    asked = queries(np.zeros((1, 2)), labels=one_hot((0, 0)))
    alone = [predicted(ClosedFormProfiles("llm", "knowledge"), queries(EMBEDDING, labels=one_hot(*pair)), asked)[0]
             for pair in (((0, 0), (0, 1), (0, 1), (0, 1)), ((0, 1), (0, 0), (0, 1), (0, 1)))]  # fmt: skip
    expected = (
        first * np.array(alone[0]) + np.array(alone[1])
    ) / 2  # the mean of weight times score, as the paper has it
    assert np.allclose(predicted(ClosedFormProfiles("predicted", "knowledge", alpha=alpha), train, asked), [expected])


def test_the_closed_form_gives_training_means_where_nobody_annotated():
    labels = one_hot((0, 0), (0, 0), (1, 1), (1, 1))
    asked = queries(np.zeros((2, 2)), labels=np.stack([np.full(AXES, NAN), labels[0]]))
    found = predicted(ClosedFormProfiles("llm"), queries(EMBEDDING, labels=labels), asked)
    assert found == [[0.5, 0.5], [0.75, 0.0]]


def test_the_closed_form_needs_annotated_training_queries():
    with pytest.raises(DataError, match="annotate queries that have outcomes"):
        predicted(ClosedFormProfiles("llm"), queries(EMBEDDING), ANYTHING)


class Fixed:
    """Predicts the same quality of the two models everywhere."""

    def __init__(self, quality):
        self.quality = quality

    def fit(self, task, seed):
        self.seed = seed

    def predict(self, queries):
        return np.asarray(self.quality, float)


def test_the_setting_of_greatest_aiq_is_chosen_and_the_first_on_a_tie():
    world = task(queries(EMBEDDING))
    wrong, right = (1 - SCORE).tolist(), SCORE.tolist()
    chosen = choose([wrong, right, right], Fixed, world, seed=5)
    assert chosen.quality is right
    assert chosen.seed == 5
    tied = choose([first := SCORE.tolist(), SCORE.tolist()], Fixed, world)
    assert tied.quality is first


def test_a_tuned_baseline_predicts_with_the_setting_it_chose():
    tuned = Tuned([1 - SCORE, SCORE], Fixed)
    tuned.fit(task(queries(EMBEDDING)), 0)
    assert tuned.predict(queries(EMBEDDING)).tolist() == SCORE.tolist()


def test_answer_lengths_follow_the_query_and_have_the_measured_mean():
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(400, 3))
    tokens = np.exp(4 + embedding[:, :1] + rng.normal(0, 0.5, size=(400, 1)))
    lengths = AnswerLengths().fit(embedding, tokens)
    found = lengths.predict(embedding)
    assert found.mean() == pytest.approx(tokens.mean())
    assert np.corrcoef(np.log(found[:, 0]), embedding[:, 0])[0, 1] > 0.99
    # ridge draws the slope 1 to 400 / 410; the smearing factor of log-normal noise is exp(.5^2 / 2)
    zero = lengths.predict(np.zeros((1, 3)))[0, 0]
    assert zero == pytest.approx(np.exp(4 + 0.5**2 / 2), rel=0.1)


def test_systems_with_few_measured_answers_have_their_mean_and_others_nothing():
    embedding = np.eye(FEWEST + 1, 2)
    tokens = np.full((FEWEST + 1, 3), NAN)
    tokens[:2, 0] = 10.0, 30.0
    tokens[: FEWEST - 1, 2] = 7.0
    found = AnswerLengths().fit(embedding, tokens).predict(np.ones((2, 2)))
    assert found.tolist() == [[20.0, 0.0, 7.0]] * 2


def test_an_answer_of_no_tokens_has_a_finite_length():
    tokens = np.zeros((FEWEST, 1))
    found = AnswerLengths().fit(np.ones((FEWEST, 2)), tokens).predict(np.ones((1, 2)))
    assert found.tolist() == [[0.0]]


def test_predicted_labels_are_those_of_like_queries_and_sum_to_one_on_either_half():
    rng = np.random.default_rng(0)
    kind = np.arange(60) % 2
    embedding = np.eye(2)[kind] + 0.05 * rng.normal(size=(60, 2))
    labels = one_hot(*((k, 1 - k) for k in kind))
    labels[40:] = NAN
    found = predicted_labels(embedding, labels, np.eye(2))
    assert found[:, : len(CAPABILITIES)].argmax(axis=1).tolist() == [0, 1]
    assert found[:, len(CAPABILITIES) :].argmax(axis=1).tolist() == [1, 0]
    assert np.allclose(found[:, : len(CAPABILITIES)].sum(axis=1), 1)
    assert np.allclose(found[:, len(CAPABILITIES) :].sum(axis=1), 1)


def test_labels_cannot_be_predicted_without_annotations():
    with pytest.raises(DataError, match="no training query is annotated"):
        predicted_labels(EMBEDDING, np.full((4, AXES), NAN), EMBEDDING)


def test_the_oracle_takes_the_best_score_of_each_query():
    assert oracle(SCORE) == pytest.approx((1 + 0.5 + 1 + 1) / 4)


def answered_by(*numbers, models=2):
    """Scores in which the given numbers of models are right, one query each."""
    return np.array([[1.0] * k + [0.0] * (models - k) for k in numbers])


def test_the_guess_corrected_oracle_takes_lucky_answers_for_what_they_are():
    # of 8 queries 4 have no right answer, 2 one, 2 both: odds of luck 2 / (2 · 4) = 1/4, g = 1/5; luck explains
    # 4 · (1/4)^2 = 1/4 of a query with both right. Unknown: 4 + 2 + 1/4 queries of worth g, known: 2 - 1/4.
    assert guess_corrected_oracle(answered_by(0, 0, 0, 0, 1, 1, 2, 2)) == pytest.approx((1.75 + 6.25 / 5) / 8)


def test_of_pure_guessing_the_corrected_oracle_keeps_the_chance_of_one_guess():
    rng = np.random.default_rng(0)
    score = (rng.random((200_000, 4)) < 0.25).astype(float)
    assert oracle(score) == pytest.approx(1 - 0.75**4, abs=0.01)
    assert guess_corrected_oracle(score) == pytest.approx(0.25, abs=0.01)


def test_where_every_query_is_answered_there_is_no_luck_to_take_off():
    assert guess_corrected_oracle(answered_by(1, 2, 1)) == 1.0


def test_luck_is_never_more_than_the_queries_that_show_it():
    # odds of luck 6 / (3 · 1) = 2 predict eight queries with all three right; the one there is then is all luck
    assert guess_corrected_oracle(answered_by(0, 1, 1, 1, 1, 1, 1, 3, models=3)) == pytest.approx(2 / 3)
