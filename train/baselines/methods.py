"""Registry of baselines by name, in the order of reports; add a new baseline here.

The oracles are no methods but functions of outcomes: `train.baselines.oracle`.
"""

from collections.abc import Callable
from functools import partial

from train.baselines import neighbours, neural, ridge
from train.baselines.closed_form import ClosedFormProfiles
from train.baselines.neural import FactorisationNetwork, ItemResponseNetwork, LogisticBaseline, perceptron
from train.baselines.selection import Tuned
from train.baselines.tables import MeansTable, RandomQuality, SingleModel, TrainingMeans
from train.baselines.task import Baseline

METHODS: dict[str, Callable[[], Baseline]] = {  # each call makes a fresh, unfitted one
    "random": RandomQuality,
    "cheapest": lambda: SingleModel("cheapest"),
    "best-single": lambda: SingleModel("best_single"),
    "constant": TrainingMeans,
    "table-benchmark": lambda: MeansTable("benchmark"),
    "table-category": lambda: MeansTable("category"),
    "knn": lambda: Tuned(neighbours.NEIGHBOURS, neighbours.NearestNeighbours),
    "kmeans": lambda: Tuned(neighbours.CLUSTERS, neighbours.ClusterMeans),
    "ridge": lambda: Tuned(ridge.ALPHAS, ridge.RidgeScores),
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
WITH_HOLES = ("random", "cheapest", "best-single", "ridge")  # those that can be fitted where scores are missing
