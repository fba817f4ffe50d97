"""Trains a small network from embeddings to logits of quality: what the three neural baselines share.

Knows no architecture. Axes: B queries, M candidates, E embedding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.baselines.task import Array, Queries, Task

STEPS = (150, 400, 1200)  # how long to train is chosen on validation, in place of early stopping
BATCH = 256
RATE = 5e-3


def fit_network(build: Callable[[int, Tensor], nn.Module], task: Task, steps: int, seed: int) -> nn.Module:
    """A network trained by binary cross-entropy on the training scores, with AdamW at a rate that falls to 0.

    Batches are drawn with replacement. `build` takes E and the logits (M,) of the training means, where its biases
    start. The global random state is left as it was.
    """
    embedding = torch.from_numpy(task.train.embedding).float()
    score = torch.from_numpy(task.train_outcomes.score).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(embedding.shape[1], torch.logit(score.mean(0), eps=1e-3)).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
        for _ in range(steps):
            rows = torch.randint(len(score), (BATCH,))
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(network(embedding[rows]), score[rows]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


class LogisticBaseline:
    """The sigmoid of a network's logits; `build` is as in `fit_network`."""

    def __init__(self, build: Callable[[int, Tensor], nn.Module], steps: int) -> None:
        self.build, self.steps = build, steps

    def fit(self, task: Task, seed: int) -> None:
        """Train the network."""
        self.network = fit_network(self.build, task, self.steps, seed)

    @torch.no_grad()
    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        logits: Tensor = self.network(torch.from_numpy(queries.embedding).float())
        return torch.sigmoid(logits).numpy().astype(np.float64)
