"""Loss terms of training, as pure functions of tensors: labels, outcomes, answer lengths, decisions.

Masks are 1 where a cell counts. Axes: B queries, S systems, C capabilities, K knowledge domains.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from router.network.torch_network import JudgedVectors

SHORTEST_TOKENS = 0.25  # one character: the least answer length of which the log is taken


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of `values` weighted by `weight` of the same shape; 0 where all weights are 0.

    >>> masked_mean(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 0.0])).item()
    1.0
    """
    return (values * weight).sum() / weight.sum().clamp_min(1e-9)


def label_loss(query: JudgedVectors, capability: Tensor, knowledge: Tensor, labelled: Tensor) -> Tensor:
    """Soft cross-entropy of both heads against label weights (B, C) and (B, K), rows weighted by `labelled` (B,)."""
    loss = -(capability * query.capability_logits.log_softmax(-1)).sum(-1)
    loss = loss - (knowledge * query.knowledge_logits.log_softmax(-1)).sum(-1)
    return masked_mean(loss, labelled.to(loss.dtype))


def level_loss(predicted: Tensor, level: Tensor, weight: Tensor) -> Tensor:
    """Half the mean squared error of predicted levels (B,) against annotated ones (B,), NaN where there is none.

    Rows are weighted by `weight` (B,) >= 0.

    >>> level_loss(torch.tensor([1.0, 5.0]), torch.tensor([3.0, float("nan")]), torch.ones(2)).item()
    2.0
    """
    known = ~level.isnan()
    error = torch.where(known, level.nan_to_num() - predicted, 0.0)
    return masked_mean(error.square() / 2, weight * known)


def outcome_loss(logits: Tensor, score: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy of logits (B, S) against soft scores (B, S) in [0, 1], cells weighted by (B, S) >= 0.

    >>> round(outcome_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.3]]), torch.ones(1, 2)).item(), 4)
    0.6931
    """
    return masked_mean(F.binary_cross_entropy_with_logits(logits, score, reduction="none"), weight)


def length_loss(log_tokens: Tensor, tokens: Tensor, measured: Tensor) -> Tensor:
    """Huber loss of predicted log answer lengths (B, S) against answer tokens (B, S), over measured cells (B, S)."""
    target = tokens.clamp_min(SHORTEST_TOKENS).log()
    loss = F.smooth_l1_loss(log_tokens, torch.where(measured, target, log_tokens.detach()), reduction="none")
    return masked_mean(loss, measured.to(loss.dtype))


def decision_loss(
    logits: Tensor, score: Tensor, cost: Tensor, mask: Tensor, weight: Tensor, temperature: float
) -> Tensor:
    """Expected regret in utility of a soft choice among the candidates of one protocol, in [0, 1] up to cost.

    The choice is a softmax over predicted utilities `sigmoid(logits) - weight * cost` at `temperature`; its regret is
    the best realised utility `score - weight * cost` minus the expected one. The caller draws `weight` (B, 1) > 0 over
    the span of the dial, so cost decides between equal scores. Costs (B, S) are in units of the protocol's cost range,
    `mask` (B, S) marks candidates; rows with fewer than two are left out. A ranking loss in the spirit of EquiRouter
    (2602.03478), on utilities in place of pairs.

    >>> cost, mask = torch.tensor([[1.0, 0.0]]), torch.ones(1, 2, dtype=torch.bool)
    >>> same = torch.tensor([[1.0, 1.0]])
    >>> round(decision_loss(torch.zeros(1, 2), same, cost, mask, torch.tensor([[0.1]]), 1e-3).item(), 4)
    0.0
    """
    rows = mask.sum(1) >= 2
    if not rows.any():
        return logits.sum() * 0.0
    price = weight * cost
    predicted = (torch.sigmoid(logits) - price) / temperature
    choice = predicted.masked_fill(~mask, -1e4).softmax(dim=1)
    realised = score - price
    best = realised.masked_fill(~mask, -1e4).max(dim=1, keepdim=True).values
    regret = (choice * torch.where(mask, best - realised, 0.0)).sum(1) / (1 + weight[:, 0])
    return regret[rows].mean()


def consistency_loss(vector: Tensor, plain: Tensor) -> Tensor:
    """Mean squared distance of the query vectors (B, D) of texts read otherwise to those of the texts; 0 without any.

    >>> consistency_loss(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([[0.5, 0.5], [0.0, 0.0]])).item()
    0.5
    """
    return (vector - plain).square().sum() / max(len(vector), 1)
