"""The paper's closed form (InferenceDynamics, 2505.16303; docs/method.md section 1) as a baseline.

Profiles come from the annotated training queries and their LLM labels. The labels of a judged query come from the LLM,
or from its embedding through a linear softmax (`predicted_labels`).
Axes: N training queries, B queries, M candidates, E embedding, A label axes: C capabilities, then K domains.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch

from router.errors import DataError
from router.network.taxonomy import CAPABILITIES, RANK_DECAY
from train.baselines.task import Array, Queries, Task
from train.data.weak_labels import softmax_regression
from train.fit.closed_form import ClosedForm

AXES = {
    "both": slice(None),
    "capabilities": slice(None, len(CAPABILITIES)),
    "knowledge": slice(len(CAPABILITIES), None),
}


def redecayed(weights: Array, alpha: float) -> Array:
    """Rank weights (B, A) with a decay of `alpha` > 0 in place of RANK_DECAY.

    Capabilities and domains sum to 1 each, so powers of the weights, scaled to sum to 1, are weights again.

    >>> weights = np.zeros((1, len(CAPABILITIES) + 2))
    >>> weights[0, 0], weights[0, -2:] = 1, (2 / 3, 1 / 3)
    >>> redecayed(weights, 0.25)[0, -2:].round(6).tolist()
    [0.8, 0.2]
    """
    raised = np.where(weights > 0, np.abs(weights) ** (math.log(alpha) / math.log(RANK_DECAY)), weights)
    parts = np.split(raised, [len(CAPABILITIES)], axis=1)
    return np.concatenate([part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12) for part in parts], axis=1)


def predicted_labels(train_embedding: Array, train_labels: Array, embedding: Array) -> Array:
    """Labels (B, A) predicted from embeddings (B, E) by a linear softmax; capabilities sum to 1, and so do domains.

    Fitted on the annotated rows of `train_embedding` (N, E) and `train_labels` (N, A), whose other rows are NaN; on
    those rows the prediction has seen the truth. DataError where no row is annotated.
    """
    known = ~np.isnan(train_labels).any(axis=1)
    if not known.any():
        raise DataError("no training query is annotated, so labels cannot be predicted: annotate some of the pool's")
    features, unlabelled = (torch.from_numpy(rows).float() for rows in (train_embedding[known], embedding))
    parts = []
    for axes in (AXES["capabilities"], AXES["knowledge"]):
        linear = softmax_regression(features, torch.from_numpy(train_labels[known, axes]).float())
        parts.append(linear(unlabelled).softmax(dim=1).detach().double().numpy())
    return np.concatenate(parts, axis=1)


class ClosedFormProfiles:
    """Label weights of the query times the models' profiles. Ignores the seed; chooses nothing on validation.

    With the LLM's labels only annotated queries are judged: any other query gets the training means.
    Quality is a weighted sum as in the paper, halved where capabilities and domains are added; it is no probability.

    Args:
        labels: where the judged queries' labels come from.
        axes: the label axes that count.
        beta: the paper's price of cost in score per USD; 0 leaves cost to the policy.
        alpha: the paper's decay of weights with the rank, for the labels that profiles are made from and for the LLM's
            labels of judged queries; predicted labels are spread over all axes and stay as they are.
    """

    def __init__(
        self,
        labels: Literal["llm", "predicted"],
        axes: Literal["both", "capabilities", "knowledge"] = "both",
        beta: float = 0.0,
        alpha: float = RANK_DECAY,
    ) -> None:
        self.labels, self.axes, self.beta, self.alpha = labels, axes, beta, alpha

    def fit(self, task: Task, seed: int) -> None:
        """Average the scores of the annotated training rows; DataError where there is none."""
        outcomes, weights = task.train_outcomes, redecayed(task.train.llm_labels, self.alpha)[:, AXES[self.axes]]
        known = ~np.isnan(weights).any(axis=1)
        self.means: Array = outcomes.means
        self.form = ClosedForm().fit(weights[known], outcomes.score[known], outcomes.cost_usd[known], self.beta)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        labels = redecayed(queries.llm_labels, self.alpha) if self.labels == "llm" else queries.predicted_labels
        weights = labels[:, AXES[self.axes]]
        known = ~np.isnan(weights).any(axis=1)
        quality = np.tile(self.means, (len(weights), 1))
        quality[known] = self.form.predict(weights[known]) / (2 if self.axes == "both" else 1)
        return quality
