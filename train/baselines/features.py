"""What baselines read beside the frozen embedding: the four numbers of form, and TF-IDF of words and characters.

Features are transformers of scikit-learn, from `Queries` to a matrix; words and their weights come from training texts.
Axes: B queries, F features.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer

from router.encoding.form import form
from train.baselines.task import Array, Baseline, Queries, Task

TERMS = 50_000  # of words and pairs of words, and again of pieces of words: the most frequent ones
WORD_AXES = 128  # of TF-IDF where features must be dense
FEW_AXES = 64  # of embedding and TF-IDF together, for what slows down with every feature


class AtMost(TruncatedSVD):
    """Truncated SVD to `n_components`, or to as many as there are features."""

    n_components: int

    def fit_transform(self, X: Any, y: None = None) -> Array:
        """Coordinates (B, F) of the rows of X."""
        self.n_components = min(self.n_components, X.shape[1])
        return super().fit_transform(X)


def embedding() -> Any:
    """The frozen embedding alone."""
    return FunctionTransformer(_embedding)


def with_form() -> Any:
    """Embedding and form, dense, for trees: form stands unscaled."""
    return make_union(embedding(), _form())


def words() -> Any:
    """Embedding and TF-IDF, sparse: three parts of unit length each."""
    return make_union(embedding(), _tfidf())


def dense_words() -> Any:
    """Embedding and the first WORD_AXES axes of TF-IDF."""
    return make_union(embedding(), make_pipeline(_tfidf(), AtMost(WORD_AXES, random_state=0)))


def dense_words_with_form() -> Any:
    """As `dense_words`, and form."""
    return make_union(dense_words(), _form())


def reduced() -> Any:
    """The first FEW_AXES axes of embedding and TF-IDF together, and form."""
    return make_union(make_pipeline(words(), AtMost(FEW_AXES, random_state=0)), _form())


def _tfidf() -> Any:
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, max_features=TERMS)
    whole = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True, max_features=TERMS)
    return make_pipeline(FunctionTransformer(_text), make_union(whole, pieces))


def _form() -> Any:
    return FunctionTransformer(_form_of)


def _embedding(queries: Queries) -> Array:
    return queries.embedding


def _text(queries: Queries) -> Any:
    return queries.text


def _form_of(queries: Queries) -> Any:
    return form(queries.text.tolist())


class OnFeatures:
    """A baseline that finds other features where it looks for the embedding."""

    def __init__(self, features: Any, baseline: Baseline) -> None:
        self.features, self.baseline = features, baseline

    def fit(self, task: Task, seed: int) -> None:
        """Fit the features, then the baseline on them, both on training queries."""
        train = replace(task.train, embedding=self.features.fit_transform(task.train))
        self.baseline.fit(replace(task, train=train, val=self._seen(task.val)), seed)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return self.baseline.predict(self._seen(queries))

    def _seen(self, queries: Queries) -> Queries:
        return replace(queries, embedding=self.features.transform(queries))
