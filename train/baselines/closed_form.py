"""The paper's closed form (InferenceDynamics, 2505.16303; docs/method.md section 1) as a baseline.

Profiles come from the annotated training queries and their LLM labels; the judged query's labels from the LLM or
predicted from its embedding. Axes: B queries, M candidates, A label axes: C capabilities, then K domains.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from router.network.taxonomy import CAPABILITIES, RANK_DECAY
from train.baselines.task import Array, Queries, Task
from train.fit.closed_form import ClosedForm

AXES = {
    "both": slice(None),
    "capabilities": slice(None, len(CAPABILITIES)),
    "knowledge": slice(len(CAPABILITIES), None),
}


def redecayed(weights: Array, alpha: float) -> Array:
    """Rank weights (B, A) as they would be with a decay of `alpha` > 0 in place of RANK_DECAY.

    Capabilities and domains sum to 1 each, so that powers of the weights, scaled to sum to 1, are weights again.

    >>> weights = np.zeros((1, len(CAPABILITIES) + 2))
    >>> weights[0, 0], weights[0, -2:] = 1, (2 / 3, 1 / 3)
    >>> redecayed(weights, 0.25)[0, -2:].round(6).tolist()
    [0.8, 0.2]
    """
    raised = np.where(weights > 0, np.abs(weights) ** (math.log(alpha) / math.log(RANK_DECAY)), weights)
    parts = np.split(raised, [len(CAPABILITIES)], axis=1)
    return np.concatenate([part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12) for part in parts], axis=1)


class ClosedFormProfiles:
    """Label weights times mean scores of training queries alike. Ignores the seed; chooses nothing on validation.

    With the LLM's labels it can judge annotated queries only: where nobody annotated it gives the training means.
    Values are weighted sums as the paper has them, halved where capabilities and domains are added; no probabilities.

    Args:
        labels: whose labels the judged queries carry.
        axes: which of the label axes count.
        beta: the paper's price of cost in score per USD; 0 leaves cost to the policy.
        alpha: the paper's decay of weights with the rank, of the labels that profiles are made from and of judged
            queries' LLM labels; predicted labels are spread over all axes and stay as they are.
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
        self.means: Array = outcomes.score.mean(axis=0)
        self.form = ClosedForm().fit(weights[known], outcomes.score[known], outcomes.cost_usd[known], self.beta)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        labels = redecayed(queries.llm_labels, self.alpha) if self.labels == "llm" else queries.predicted_labels
        weights = labels[:, AXES[self.axes]]
        known = ~np.isnan(weights).any(axis=1)
        quality = np.tile(self.means, (len(weights), 1))
        quality[known] = self.form.predict(weights[known]) / (2 if self.axes == "both" else 1)
        return quality
