"""Neural baselines: logistic matrix factorisation, item response theory and the regression of CARROT on embeddings.

Each is a small network from an embedding to a logit of quality for every model, trained here by `fit_network`.
Axes: B queries, M candidates, E embedding, R rank, T traits, H hidden units.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.baselines.task import Array, Queries, Task

STEPS = (150, 400, 1200)  # the number of steps is chosen on validation, in place of early stopping
BATCH = 256
RATE = 5e-3
RANK = 32
TRAITS = 25
HIDDEN = 128
DROPOUT = 0.2

Build = Callable[[int, Tensor], nn.Module]  # E and the logits (M,) of the training means, where biases start


class FactorisationNetwork(nn.Module):
    """Logistic matrix factorisation, the router of RouteLLM (2406.18665) and EmbedLLM (2410.02223).

    logit = (W e(x)) · v_m + b_m, with W (R, E), v (M, R) and b (M,).
    """

    def __init__(self, embedding: int, start: Tensor) -> None:
        super().__init__()
        self.project = nn.Linear(embedding, RANK, bias=False)
        self.models = nn.Parameter(0.1 * torch.randn(len(start), RANK))
        self.bias = nn.Parameter(start.clone())

    def forward(self, embedding: Tensor) -> Tensor:
        """Logits (B, M)."""
        return torch.addmm(self.bias, self.project(embedding), self.models.T)


class ItemResponseNetwork(nn.Module):
    """Multidimensional item response theory, the router of IRT-Router (2506.01048).

    logit = Σ_t softplus(discrimination_t(x)) · (ability_mt − difficulty(x)): more ability never hurts. Queries are the
    items and models the persons. Abilities are free parameters here; the paper derives them from an embedding of the
    model's description. The paper's warm-up by similar queries is left out.
    """

    def __init__(self, embedding: int, start: Tensor) -> None:
        super().__init__()
        self.discrimination = nn.Linear(embedding, TRAITS)
        self.difficulty = nn.Linear(embedding, 1)
        usual = TRAITS * F.softplus(torch.zeros(())).item()  # the sum of discriminations at the start
        self.ability = nn.Parameter(start[:, None] / usual + 0.1 * torch.randn(len(start), TRAITS))

    def forward(self, embedding: Tensor) -> Tensor:
        """Logits (B, M)."""
        discrimination = F.softplus(self.discrimination(embedding))
        return discrimination @ self.ability.T - discrimination.sum(1, keepdim=True) * self.difficulty(embedding)


def perceptron(embedding: int, start: Tensor) -> nn.Module:
    """The quality network of CARROT (2502.03261), E -> H -> M, on frozen vectors; CARROT fine-tunes RoBERTa.

    CARROT's second stage, the cost, is `train.baselines.cost`, which all baselines share.
    """
    last = nn.Linear(HIDDEN, len(start))
    last.bias.data.copy_(start)
    return nn.Sequential(nn.Linear(embedding, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT), last)


def fit_network(build: Build, task: Task, steps: int, seed: int) -> nn.Module:
    """A network trained by binary cross-entropy on the measured scores, with AdamW at a rate that falls to 0.

    Batches are drawn with replacement. The global random state is left as it was.
    """
    embedding = torch.from_numpy(task.train.embedding).float()
    score, means = (torch.from_numpy(each).float() for each in (task.train_outcomes.score, task.train_outcomes.means))
    known = ~score.isnan()
    target = torch.where(known, score, 0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(embedding.shape[1], torch.logit(means, eps=1e-3)).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
        for _ in range(steps):
            rows = torch.randint(len(score), (BATCH,))
            optimizer.zero_grad()
            logits = network(embedding[rows])
            F.binary_cross_entropy_with_logits(logits, target[rows], known[rows].float()).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


class LogisticBaseline:
    """Baseline whose quality is the sigmoid of a network's logits."""

    def __init__(self, build: Build, steps: int) -> None:
        self.build, self.steps = build, steps

    def fit(self, task: Task, seed: int) -> None:
        """Train the network."""
        self.network = fit_network(self.build, task, self.steps, seed)

    @torch.no_grad()
    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        logits: Tensor = self.network(torch.from_numpy(queries.embedding).float())
        return torch.sigmoid(logits).numpy().astype(np.float64)
