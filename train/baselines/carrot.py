"""The two-stage plug-in of CARROT (2502.03261): quality regressed by a network, cost predicted apart from it.

CARROT fine-tunes RoBERTa; this is its plug-in rule on frozen vectors, a small network per pool. The cost is
`train.baselines.cost`, which all baselines share. Axes: B queries, M candidates, E embedding, H hidden units.
"""

from __future__ import annotations

from torch import Tensor, nn

from train.baselines.logistic import fit_network, probabilities
from train.baselines.task import Array, Queries, Task

HIDDEN = 128
DROPOUT = 0.2


class Carrot:
    """Sigmoid outputs of one hidden layer, one per model."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def fit(self, task: Task, seed: int) -> None:
        """Train the network."""
        self.network = fit_network(perceptron, task, self.steps, seed)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return probabilities(self.network, queries)


def perceptron(embedding: int, start: Tensor) -> nn.Module:
    """E -> H -> M with biases that start at the logits `start` (M,)."""
    last = nn.Linear(HIDDEN, len(start))
    last.bias.data.copy_(start)
    return nn.Sequential(nn.Linear(embedding, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT), last)
