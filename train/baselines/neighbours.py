"""Nearest-neighbour baselines: k nearest training queries, and the nearest k-means cluster.

Axes: B queries, M candidates, G clusters.
"""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.neighbors import KNeighborsRegressor

from train.baselines.regression import Regression
from train.baselines.task import Array, Queries, Task

NEIGHBOURS = (10, 30, 50, 100, 200, 400)
CLUSTERS = (8, 16, 32, 64)
PSEUDO_COUNT = 10.0  # training queries with the pool's mean score that are added to each cluster


class NearestNeighbours(Regression):
    """Mean score of each model on the k training queries of greatest cosine: a hard baseline to beat (2505.12601).

    Of queries on which the model is measured; all of them where there are fewer than k. Ignores the seed.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        super().__init__(lambda rows, seed: KNeighborsRegressor(min(k, rows), metric="cosine"))


class ClusterMeans:
    """Mean score of each model in the nearest cluster of training queries, the router of Avengers-Pro (2508.12631).

    Each cluster's means are shrunk to the pool's.
    """

    def __init__(self, clusters: int) -> None:
        self.clusters = clusters

    def fit(self, task: Task, seed: int) -> None:
        """Cluster the training queries, at most one cluster a query, and average in each."""
        embedding, score = task.train.embedding, task.train_outcomes.score
        self.kmeans = KMeans(min(self.clusters, len(embedding)), n_init=1, random_state=seed)
        members = np.eye(self.kmeans.n_clusters)[self.kmeans.fit_predict(embedding)]  # (N, G)
        known = ~np.isnan(score)
        total, count = members.T @ np.where(known, score, 0.0), members.T @ known
        self.quality = (total + PSEUDO_COUNT * task.train_outcomes.means) / (count + PSEUDO_COUNT)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return self.quality[self.kmeans.predict(queries.embedding)]
