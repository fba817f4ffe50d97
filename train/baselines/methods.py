"""Registry of baselines by name, in the order of reports; add a new baseline here.

The oracles are no methods but functions of outcomes: `train.baselines.oracle`.
"""

from collections.abc import Callable
from functools import partial

from train.baselines import features, neighbours, neural, regression
from train.baselines.closed_form import ClosedFormProfiles
from train.baselines.features import OnFeatures
from train.baselines.neural import FactorisationNetwork, ItemResponseNetwork, LogisticBaseline, perceptron
from train.baselines.selection import MeanOf, Tuned
from train.baselines.tables import MeansTable, RandomQuality, SingleModel, TrainingMeans
from train.baselines.task import Baseline


def _ridge_on_words() -> Baseline:
    return OnFeatures(features.words(), Tuned(regression.ALPHAS, regression.RidgeScores))


METHODS: dict[str, Callable[[], Baseline]] = {  # each call makes a fresh, unfitted one
    "random": RandomQuality,
    "cheapest": lambda: SingleModel("cheapest"),
    "best-single": lambda: SingleModel("best_single"),
    "constant": TrainingMeans,
    "table-benchmark": lambda: MeansTable("benchmark"),
    "table-category": lambda: MeansTable("category"),
    "knn": lambda: Tuned(neighbours.NEIGHBOURS, neighbours.NearestNeighbours),
    "kmeans": lambda: Tuned(neighbours.CLUSTERS, neighbours.ClusterMeans),
    "ridge": lambda: Tuned(regression.ALPHAS, regression.RidgeScores),
    "ridge-words": _ridge_on_words,
    "extra-trees": lambda: OnFeatures(features.with_form(), regression.ExtraTrees()),
    "boosting": lambda: OnFeatures(features.reduced(), Tuned(regression.ROUNDS, regression.Boosting)),
    "mean-of-baselines": lambda: MeanOf(
        _ridge_on_words(),
        OnFeatures(features.dense_words(), Tuned(neighbours.NEIGHBOURS, neighbours.NearestNeighbours)),
        OnFeatures(features.dense_words_with_form(), regression.ExtraTrees()),
    ),
    "factorisation": lambda: Tuned(neural.STEPS, partial(LogisticBaseline, FactorisationNetwork)),
    "mirt": lambda: Tuned(neural.STEPS, partial(LogisticBaseline, ItemResponseNetwork)),
    "carrot": lambda: Tuned(neural.STEPS, partial(LogisticBaseline, perceptron)),
    "closed-form-llm": lambda: ClosedFormProfiles("llm"),
    "closed-form-predicted": lambda: ClosedFormProfiles("predicted"),
    "closed-form-capabilities": lambda: ClosedFormProfiles("predicted", "capabilities"),
    "closed-form-knowledge": lambda: ClosedFormProfiles("predicted", "knowledge"),
    "closed-form-alpha-0.25": lambda: ClosedFormProfiles("predicted", alpha=0.25),
    "closed-form-alpha-1": lambda: ClosedFormProfiles("predicted", alpha=1.0),
    "closed-form-beta-10": lambda: ClosedFormProfiles("predicted", beta=10.0),
    "closed-form-beta-100": lambda: ClosedFormProfiles("predicted", beta=100.0),
}
