"""Routers to compare with, each a file: fitted on train, settings chosen on validation, quality (B, M) predicted.

`METHODS` makes a fresh, unfitted one by name, in the order of reports. All share the predicted cost of
`train.baselines.cost`. The Zero router and the oracles are functions of outcomes: `train.baselines.oracle`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from train.baselines import kmeans, ridge
from train.baselines import neighbours as knn
from train.baselines import neural as logistic
from train.baselines.carrot import perceptron
from train.baselines.closed_form import ClosedFormProfiles
from train.baselines.constants import RandomQuality, SingleModel, TrainingMeans
from train.baselines.factorisation import FactorisationNetwork
from train.baselines.mirt import ItemResponseNetwork
from train.baselines.neural import LogisticBaseline
from train.baselines.selection import Tuned
from train.baselines.tables import MeansTable
from train.baselines.task import Baseline

METHODS: dict[str, Callable[[], Baseline]] = {
    "random": RandomQuality,
    "cheapest": lambda: SingleModel("cheapest"),
    "best-single": lambda: SingleModel("best_single"),
    "constant": TrainingMeans,
    "table-benchmark": lambda: MeansTable("benchmark"),
    "table-category": lambda: MeansTable("category"),
    "knn": lambda: Tuned(knn.NEIGHBOURS, knn.NearestNeighbours),
    "kmeans": lambda: Tuned(kmeans.CLUSTERS, kmeans.ClusterMeans),
    "ridge": lambda: Tuned(ridge.ALPHAS, ridge.RidgeScores),
    "factorisation": lambda: Tuned(logistic.STEPS, partial(LogisticBaseline, FactorisationNetwork)),
    "mirt": lambda: Tuned(logistic.STEPS, partial(LogisticBaseline, ItemResponseNetwork)),
    "carrot": lambda: Tuned(logistic.STEPS, partial(LogisticBaseline, perceptron)),
    "closed-form-llm": lambda: ClosedFormProfiles("llm"),
    "closed-form-predicted": lambda: ClosedFormProfiles("predicted"),
    "closed-form-capabilities": lambda: ClosedFormProfiles("predicted", "capabilities"),
    "closed-form-knowledge": lambda: ClosedFormProfiles("predicted", "knowledge"),
    "closed-form-alpha-0.25": lambda: ClosedFormProfiles("predicted", alpha=0.25),
    "closed-form-alpha-1": lambda: ClosedFormProfiles("predicted", alpha=1.0),
    "closed-form-beta-10": lambda: ClosedFormProfiles("predicted", beta=10.0),
    "closed-form-beta-100": lambda: ClosedFormProfiles("predicted", beta=100.0),
}
