"""Initial profiles and loss weights: the paper's closed form for profiles, means for answer lengths.

Axes: N queries, S systems, C capabilities, K domains, P protocols.
"""

import numpy as np
import torch
from torch import Tensor

from router.network.torch_network import ProfileTable
from train.data.training_data import TrainingData
from train.fit.closed_form import ClosedForm
from train.fit.losses import SHORTEST_TOKENS

PSEUDO_COUNT = 30.0  # queries with the model's mean score that are added to each axis entry
NO_LENGTH = -20.0  # log tokens of a system without a measured answer: it costs its input only
LEAST_PROBABILITY = 0.03  # profiles start between logit(.03) and logit(.97)


@torch.no_grad()
def initialise_profiles(table: ProfileTable, data: TrainingData, residual: int = 0, seed: int = 0) -> None:
    """Fill `table` from the training rows.

    Weights start at half the logit of the closed-form entry, since capability and knowledge weights each sum to 1. The
    `residual` columns after them start small and random, log_tokens at the mean log answer length. The table's means
    are those of the training rows.
    """
    rows = torch.from_numpy(data.train_rows)
    tensors = {name: tensor[rows] for name, tensor in data.tensors.items()}
    seen, count = tensors["seen"], tensors["seen"].sum(0)
    table.mean_score.copy_(tensors["score"].sum(0) / count.clamp_min(1))
    table.mean_input_tokens.copy_((tensors["input_tokens"][:, None] * seen).sum(0) / count.clamp_min(1))
    known = seen & (tensors["tokens"] > 0)
    table.mean_output_tokens.copy_((tensors["tokens"] * known).sum(0) / known.sum(0).clamp_min(1))
    measured = tensors["measured"]
    logs = tensors["tokens"].clamp_min(SHORTEST_TOKENS).log() * measured
    table.log_tokens.copy_(torch.where(measured.any(0), logs.sum(0) / measured.sum(0).clamp_min(1), NO_LENGTH))

    labelled = tensors["labelled"].numpy() == 1  # annotated, not weakly labelled
    weights = torch.cat([tensors["capability"], tensors["knowledge"]], dim=1).numpy()[labelled]
    score = np.where(seen.numpy(), tensors["score"].numpy(), np.nan)[labelled]
    named = weights.shape[1]
    start = table.mean_score[:, None].expand(-1, named).clone()
    if not np.isnan(score).all():
        form = ClosedForm().fit(weights, score)
        # The closed form averages scores times rank weights; divided by that of perfect scores it is a weighted mean.
        perfect = ClosedForm().fit(weights, np.where(np.isnan(score), np.nan, 1.0))
        support = torch.from_numpy(form.count.astype(np.float32))
        entry = torch.from_numpy((form.profile / perfect.profile).astype(np.float32))
        start = (entry * support + PSEUDO_COUNT * start) / (support + PSEUDO_COUNT)
    table.weight[:, :named].copy_(torch.logit(start, eps=LEAST_PROBABILITY) / 2)
    if residual:
        generator = torch.Generator().manual_seed(seed)
        table.weight[:, named : named + residual].normal_(0, 0.1, generator=generator)


def protocol_weights(data: TrainingData, balance: float) -> Tensor:
    """(P,) weight of a cell by its protocol: (mean rows per protocol / its rows) ** balance."""
    seen = data.tensors["seen"][torch.from_numpy(data.train_rows)]
    protocol = data.protocol
    counts = torch.stack([seen[:, protocol == p].any(1).sum() for p in range(len(data.protocols))]).float()
    return (counts.mean() / counts.clamp_min(1)) ** balance
