"""Cluster means, the router of Avengers-Pro (2508.12631): queries are clustered, each cluster keeps a table of scores.

Axes: B queries, M candidates, G clusters.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from train.baselines.task import Array, Queries, Task

CLUSTERS = (8, 16, 32, 64)
PSEUDO_COUNT = 10.0  # training queries of the pool's mean that each cluster is drawn to it by


class ClusterMeans:
    """Mean score of each model over the training queries of the nearest cluster, shrunk to the pool's mean."""

    def __init__(self, clusters: int) -> None:
        self.clusters = clusters

    def fit(self, task: Task, seed: int) -> None:
        """Cluster the training queries, at most one cluster a query, and average in each."""
        embedding, score = task.train.embedding, task.train_outcomes.score
        self.kmeans = KMeans(min(self.clusters, len(embedding)), n_init=1, random_state=seed)
        members = np.eye(self.kmeans.n_clusters)[self.kmeans.fit_predict(embedding)]  # (N, G)
        total, count = members.T @ score, members.sum(axis=0)[:, None]
        self.quality = (total + PSEUDO_COUNT * score.mean(axis=0)) / (count + PSEUDO_COUNT)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return self.quality[self.kmeans.predict(queries.embedding)]
