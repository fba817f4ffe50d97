"""Usual answer lengths of systems after training: matched to what was measured, and guessed where nothing was.

Providers hide reasoning, so of many systems no length is measured, and of others only on one kind of question. What
such a system writes is drawn to the usual visible answer of its protocol times what its reasoning effort adds.
Axes: B collected rows, S systems.
"""

import numpy as np
import torch
from torch import Tensor

from router.network.torch_network import ProfileTable
from train.data.training_data import TrainingData
from train.fit.validation import Collected, unique

# Answer tokens at an effort over those without reasoning: from medians over RouteMix-2026's mcpmark, of models whose
# efforts were recorded, 2.9 for thinking over none (2 models), 1.9 for thinking over low (3), 2.0 for high over
# thinking (3). They scatter: one standard deviation is a factor of 2.
EFFORTS = {"low": 1.6, "think": 3.0, "medium": 3.0, "default": 3.0, "high": 6.0, "xhigh": 6.0}
FEWEST = 20  # measured answers to a benchmark that counts


@torch.no_grad()
def fit_lengths(table: ProfileTable, collected: Collected, data: TrainingData) -> None:
    """Set each system's usual length: its own where it is measured, see `drawn`, otherwise the guess.

    Its own is scaled so that predicted and measured means agree on the collected training rows: the length head
    predicts a mean of logs, and costs need the mean (Duan's smearing estimate, one factor per system).
    """
    collected = unique(collected)
    measured = data.tensors["measured"][collected.row]
    tokens = data.tensors["tokens"][collected.row] * measured
    expected = table.output_tokens(collected.log_length.to(table.bias)).cpu() * measured
    factor = tokens.sum(0) / expected.sum(0).clamp_min(1e-9)
    table.log_tokens.add_(torch.where(measured.any(0), factor, 1.0).clamp(0.1, 10).log().to(table.bias))
    table.log_tokens.copy_(drawn(table.log_tokens.cpu(), covered(data), efforts(data), data.protocol))


def covered(data: TrainingData) -> Tensor:
    """(S, G) whether a system's answers to each of G benchmarks were measured, FEWEST of them at least."""
    rows = torch.from_numpy(data.train_rows)
    names, number = np.unique(data.dataset.queries["benchmark"].to_numpy(str)[data.train_rows], return_inverse=True)
    counts = torch.zeros(len(names), len(data.systems))
    counts.index_add_(0, torch.from_numpy(number), data.tensors["measured"][rows].float())
    return counts.T >= FEWEST


def efforts(data: TrainingData) -> Tensor:
    """(S,) factor of each system's reasoning effort on its answer length.

    A system whose name tells no effort reasons if none of its answers was measured and no sibling is named to reason.
    """
    measured = data.tensors["measured"][torch.from_numpy(data.train_rows)].any(0).tolist()
    names = {system.model for system in data.systems}
    factors = []
    for system, known in zip(data.systems, measured, strict=True):
        effort = system.model.rpartition("-")[2]
        hidden = not known and f"{system.model}-think" not in names
        factors.append(EFFORTS.get(effort, EFFORTS["think"] if hidden else 1.0))
    return torch.tensor(factors)


def drawn(log_tokens: Tensor, covered: Tensor, effort: Tensor, protocol: Tensor) -> Tensor:
    """Log lengths (S,) drawn to the usual visible length of the system's protocol times its `effort` (S,).

    A system `covered` (S, G) on k of the K benchmarks of its protocol keeps the share k / (k + 1 - k / K) of its own.
    A protocol without any measured system keeps what it has.

    >>> one = torch.tensor([[True, False], [True, True], [False, False]])
    >>> drawn(torch.tensor([1.0, 3.0, -20.0]), one, torch.tensor([1.0, 1.0, 2.0]), torch.zeros(3)).tolist()
    [1.3333332538604736, 3.0, 2.6931471824645996]
    """
    result = log_tokens.clone()
    for group in protocol.unique().tolist():
        own = protocol == group
        count = covered[own].sum(1).float()
        known = count > 0
        if known.any():
            every = covered[own].any(0).sum()
            usual = (log_tokens[own] - effort[own].log())[known].mean() + effort[own].log()
            share = count / (count + 1 - count / every)
            result[own] = torch.where(known, share * log_tokens[own] + (1 - share) * usual, usual)
    return result
