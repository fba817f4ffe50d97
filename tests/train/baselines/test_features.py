"""What stands in the place of the embedding: widths, what is learned from which texts, and what words are worth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import issparse

from router.encoding.form import form
from train.baselines import features
from train.baselines.methods import METHODS
from train.baselines.task import Outcomes, Queries, Task

ROWS, WIDTH, MODELS = 200, 6, 2


def asked(seed):
    """Queries whose embedding is noise: a word in the text, among fifty others, says which of two models is right."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(2, size=ROWS)
    text = [" ".join([f"w{word}" for word in rng.integers(50, size=9)] + [("apple", "pear")[k]]) for k in kind]
    name, nothing = np.full(ROWS, "exam", object), np.full((ROWS, 3), np.nan)
    embedding = rng.normal(size=(ROWS, WIDTH))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    queries = Queries(embedding, np.ones(ROWS), name, name, nothing, nothing, np.array(text, object))
    return queries, Outcomes(np.eye(MODELS)[kind], np.ones((ROWS, MODELS)) * [1.0, 2.0])


@pytest.fixture(scope="module")
def task():
    train, train_outcomes = asked(0)
    val, val_outcomes = asked(1)
    return Task(train, train_outcomes, val, val_outcomes, val_outcomes.cost_usd, best_single=1, cheapest=0)


def test_features_stand_beside_the_embedding(task, monkeypatch):
    monkeypatch.setattr(features, "WORD_AXES", 5)
    monkeypatch.setattr(features, "FEW_AXES", 7)
    queries, few = task.train, task.val.take(np.arange(3))
    made = {}
    for build in (features.with_form, features.dense_words, features.dense_words_with_form, features.reduced):
        made[build.__name__] = build().fit(queries).transform(few)
    widths = {name: matrix.shape for name, matrix in made.items()}
    assert widths == {
        "with_form": (3, WIDTH + 4),
        "dense_words": (3, WIDTH + 5),
        "dense_words_with_form": (3, WIDTH + 5 + 4),
        "reduced": (3, 7 + 4),
    }
    assert np.array_equal(made["with_form"][:, :WIDTH], few.embedding)
    for name in ("with_form", "dense_words_with_form", "reduced"):
        assert np.allclose(made[name][:, -4:], form(few.text.tolist()))


def test_words_are_sparse_parts_of_unit_length_and_come_from_training_texts(task):
    made = features.words().fit(task.train)
    strange = replace(task.val.take(np.arange(1)), text=np.array(["apple Fünfzigtausend"], object))
    found, known = (made.transform(each) for each in (strange, replace(strange, text=np.array(["apple"], object))))
    assert issparse(found) and found.shape == known.shape
    assert found.multiply(found).sum() == pytest.approx(3.0)
    rows = made.transform(task.val)
    assert rows.multiply(rows).sum(axis=1) == pytest.approx(3.0)


def test_reduced_axes_are_at_most_as_many_as_features():
    assert features.AtMost(9, random_state=0).fit_transform(np.eye(4)).shape == (4, 4)


@pytest.mark.parametrize("name", ["ridge-words", "boosting", "mean-of-baselines"])
def test_what_only_the_words_say_is_learned_by_what_reads_them(name, task):
    queries, outcomes = asked(2)
    right = {}
    for each in ("ridge", name):
        baseline = METHODS[each]()
        baseline.fit(task, 0)
        right[each] = outcomes.score[np.arange(ROWS), baseline.predict(queries).argmax(axis=1)].mean()
    assert right["ridge"] < 0.65
    assert right[name] > 0.9
