"""The two-stage plug-in of CARROT (2502.03261): quality regressed by a network, cost predicted apart from it.

CARROT fine-tunes RoBERTa; this is its plug-in rule on frozen vectors, a small network per pool. The cost is
`train.baselines.cost`, which all baselines share. Axes: B queries, M candidates, E embedding, H hidden units.
"""

from __future__ import annotations

from torch import Tensor, nn

HIDDEN = 128
DROPOUT = 0.2


def perceptron(embedding: int, start: Tensor) -> nn.Module:
    """E -> H -> M with biases that start at the logits `start` (M,)."""
    last = nn.Linear(HIDDEN, len(start))
    last.bias.data.copy_(start)
    return nn.Sequential(nn.Linear(embedding, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT), last)
