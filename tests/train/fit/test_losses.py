import math

import pytest
import torch

from router.network.torch_network import JudgedVectors
from router.network.vectors import Dimensions
from train.fit import losses


def query(capability, knowledge):
    unread, size = torch.zeros(len(capability), 0), Dimensions(1, len(capability[0]), len(knowledge[0]), 0, 1)
    return JudgedVectors(
        unread, unread, unread, unread, size, torch.tensor(capability), torch.tensor(knowledge), unread
    )


def test_label_loss_is_the_cross_entropy_of_both_heads_over_labelled_rows():
    vectors = query([[0.0, 0.0], [9.0, 9.0]], [[0.0, 0.0, 0.0], [1.0, 5.0, 2.0]])
    value = losses.label_loss(
        vectors,
        torch.tensor([[0.7, 0.3], [0.0, 0.0]]),
        torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
        torch.tensor([True, False]),
    )
    assert float(value) == pytest.approx(math.log(2) + math.log(3))


def test_label_loss_without_labels_is_zero():
    vectors = query([[1.0, 0.0]], [[0.0, 2.0]])
    zero = losses.label_loss(vectors, torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([False]))
    assert float(zero) == 0.0


def test_missing_outcomes_do_not_count():
    logits = torch.tensor([[0.0, 50.0, -50.0]])
    score, seen = torch.tensor([[0.3, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert float(losses.outcome_loss(logits, score, seen)) == pytest.approx(math.log(2))


def test_cells_count_by_their_weight():
    logits, score = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 1.0]])
    value = losses.outcome_loss(logits, score, torch.tensor([[1.0, 3.0]]))
    assert float(value) == pytest.approx((math.log(2) + 3 * math.log1p(math.exp(-2))) / 4)


def test_lengths_are_learned_on_measured_cells_only():
    predicted = torch.tensor([[1.0, 7.0]], requires_grad=True)
    value = losses.length_loss(predicted, torch.tensor([[math.e, 100.0]]), torch.tensor([[True, False]]))
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-6)
    assert predicted.grad is not None and predicted.grad[0, 1] == 0


MASK = torch.ones(1, 2, dtype=torch.bool)


def test_the_decision_loss_is_the_expected_regret_of_a_soft_choice():
    logits, score = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    value = losses.decision_loss(logits, score, torch.zeros(1, 2), MASK, torch.tensor([[1.0]]), 0.1)
    assert float(value) == pytest.approx(0.5 * 1.0 / 2)  # half the choices lose 1, over 1 + weight


def test_equal_scores_are_told_apart_by_cost():
    logits = torch.zeros(1, 2, requires_grad=True)
    score, cost = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.2]])
    losses.decision_loss(logits, score, cost, MASK, torch.tensor([[0.1]]), 0.5).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > 0 > logits.grad[0, 1]  # a step down favours the cheaper


def test_a_single_candidate_has_nothing_to_rank():
    value = losses.decision_loss(
        torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 2), torch.tensor([[True, False]]), torch.tensor([[0.1]]), 0.1
    )
    assert float(value) == 0.0


def test_the_loss_of_levels_counts_annotated_rows_by_their_weight():
    predicted, weight = torch.tensor([1.0, 2.0, 9.0], requires_grad=True), torch.tensor([1.0, 3.0, 5.0])
    value = losses.level_loss(predicted, torch.tensor([3.0, 3.0, math.nan]), weight)
    assert value.item() == pytest.approx((1 * 4 + 3 * 1) / 2 / 4)
    value.backward()
    assert predicted.grad.tolist() == pytest.approx([-0.5, -0.75, 0.0])
    assert float(losses.level_loss(predicted, torch.full((3,), math.nan), weight)) == 0.0
