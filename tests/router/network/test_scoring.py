import math

import numpy as np
import pytest
import torch

from router.network import scoring
from router.routing.router import Router


def test_logits_are_the_inner_product_plus_bias():
    query = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]])  # B, D = 2, 3
    profile = torch.tensor([[1.0, 1.0, 1.0], [0.0, -1.0, 0.5], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])  # M = 4
    bias = torch.tensor([0.0, 1.0, 0.0, -3.0])
    expected = [[3.0, 2.0, 2.0, -3.0], [1.5, 0.0, 1.0, -3.0]]
    assert scoring.logits(query, profile, bias).tolist() == expected


def test_permuting_candidates_permutes_their_logits():
    query, profile, bias = torch.randn(2, 5), torch.randn(3, 5), torch.randn(3)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        scoring.logits(query, profile[order], bias[order]), scoring.logits(query, profile, bias)[:, order]
    )


def test_cost_adds_prompt_and_answer_at_prices_per_million_tokens():
    cost = scoring.expected_cost(
        torch.tensor([1000.0, 0.0]),
        torch.tensor([[500.0, 0.0, 1.0], [100.0, 10.0, 0.0]]),
        torch.tensor([1.0, 2.0, 0.0]),
        torch.tensor([4.0, 8.0, 1e6]),
    )
    torch.testing.assert_close(cost, torch.tensor([[0.003, 0.002, 1.0], [0.0004, 0.00008, 0.0]]))


def test_the_dial_is_zero_at_zero_infinite_at_ten_and_logarithmic_between():
    weight = scoring.cost_weight(torch.tensor([0.0, 2.0, 4.0, 10.0]), 0.5)
    assert weight[0] == 0
    assert math.isinf(weight[3])
    assert float(weight[1]) == pytest.approx(1e-2 / 0.5)
    assert float(weight[2] / weight[1]) == pytest.approx(10.0)


def test_a_dial_beyond_its_span_weighs_like_the_nearer_end():
    assert scoring.cost_weight(torch.tensor([-1.0, 11.0]), 0.5).tolist() == [0.0, math.inf]


def test_a_weight_of_nothing_is_dial_0_without_a_warning():
    assert scoring.dial_of_weight(np.array([0.0]), 0.02).tolist() == [0.0]


def test_a_token_of_a_prompt_is_taken_for_four_characters(tiny_checkpoint):
    router = Router(tiny_checkpoint)
    short, long = (router.route("a" * length, pool="both", dial=0) for length in (400, 800))
    assert short.model == long.model
    price = tiny_checkpoint.models[short.model].input_usd_per_mtok
    assert long.cost_usd - short.cost_usd == pytest.approx(100 * price / 1e6, rel=1e-3)


def test_every_cost_weight_has_its_dial_and_what_lies_beyond_the_span_its_end():
    dials = torch.tensor([0.0, 0.1, 3.3, 9.9, 10.0], dtype=torch.float64)
    torch.testing.assert_close(scoring.dial_of_weight(scoring.cost_weight(dials, 0.02), 0.02), dials)
    assert scoring.dial_of_weight(torch.tensor([1e-9, 1e9]), 0.02).tolist() == [0.0, 10.0]


def test_weight_zero_ranks_by_quality_and_infinite_weight_by_cost():
    quality, cost = torch.tensor([[0.9, 0.5, 0.7]] * 2), torch.tensor([[3.0, 1.0, 2.0]] * 2)
    value = scoring.utility(quality, cost, torch.tensor([0.0, math.inf]))
    assert value[0].tolist() == quality[0].tolist()
    assert value[1].tolist() == [-3.0, -1.0, -2.0]
