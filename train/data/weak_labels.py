"""Weak labels: soft labels for unannotated training queries, from a teacher that knows their category.

The teacher is a softmax regression, of difficulty a ridge regression, on embedding and category, fitted on the
annotated training rows. The router, which never sees a category, learns from annotations and weak labels (distillation
of privileged information, Lopez-Paz et al., 1511.03643). Validation and test rows get none. Axes: N queries, T training
rows, E embedding, G categories, A label axes.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from router.errors import UsageError
from router.evaluation.folder_tables import LEVELS
from router.network.torch_network import standardisation
from train.data.training_data import TrainingData

PENALTY = 3e-5  # on the teacher's squared weights; chosen on fold 7, see docs/experiments.md
STEPS = 150
RIDGE = 3.0  # penalty on the squared weights of the teacher of difficulty


def with_weak_labels(data: TrainingData, embedding: Tensor, weight: float, parts: Sequence[int]) -> TrainingData:
    """`data` with the teacher's labels on unlabelled training rows; their `labelled` is `weight` in (0, 1].

    A row that is annotated without a difficulty gets none, and no row where no training row has one.

    `embedding` (N, E) is that of all queries, in parts of these lengths. Raises UsageError where no training row is
    annotated.
    """
    rows = torch.from_numpy(data.train_rows)
    labelled = data.tensors["labelled"][rows] > 0
    if not labelled.any():
        raise UsageError("data.weak_label_weight needs annotated training rows, there are none: set it to 0")
    centre, scale = standardisation(embedding[rows], parts)
    number = data.tensors["category"]
    category = torch.zeros(len(rows), int(number.max()) + 1).scatter_(1, number[rows, None], 1.0)
    features = torch.cat([(embedding[rows] - centre) * scale, category], dim=1)  # (T, E + G)
    known, unknown = rows[labelled], rows[~labelled]
    tensors = dict(data.tensors)
    for name in ("capability", "knowledge"):
        teacher = softmax_regression(features[labelled], tensors[name][known])
        tensors[name] = tensors[name].clone()
        tensors[name][unknown] = teacher(features[~labelled]).softmax(dim=1).detach()
    level, judged = tensors["level"].clone(), ~tensors["level"][rows].isnan()
    if judged.any():
        teacher_of_level = Ridge(RIDGE).fit(features[judged].numpy(), level[rows[judged]].numpy())
        found = teacher_of_level.predict(features[~labelled].numpy()).clip(LEVELS[0], LEVELS[-1])
        level[unknown] = torch.from_numpy(found).to(level)
    tensors["level"] = level
    tensors["labelled"] = tensors["labelled"].float()
    tensors["labelled"][unknown] = weight
    return replace(data, tensors=tensors)


def softmax_regression(features: Tensor, target: Tensor) -> torch.nn.Linear:
    """The linear map from (N, F) to logits (N, A) with least penalised cross-entropy on soft targets (N, A)."""
    linear = torch.nn.Linear(features.shape[1], target.shape[1])
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -(target * linear(features).log_softmax(dim=1)).sum(1).mean() + PENALTY * linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return linear
