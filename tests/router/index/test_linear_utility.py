"""One inner product must order models as utility does: exactly at dials 0 and 10, near the tangent in between."""

import pytest
import torch

from router.index.linear_utility import item_vectors, search_vectors, sigmoid_slope, tangent_logit
from router.network import scoring
from router.network.vectors import Dimensions, QueryVectors
from router.policy.candidates import Candidates
from router.pools.models import ModelFacts

B, M, P = 2, 7, 3  # D = C + K + R + L + P = 2 + 3 + 0 + 1 + 3


def query(batch=B):
    torch.manual_seed(1)
    size = Dimensions(1, 2, 3, P, M, likeness=1)
    return QueryVectors(
        torch.randn(batch, size.columns + P), torch.randn(batch, P), torch.zeros(batch), torch.ones(batch), size
    )


def pool(count=M):
    torch.manual_seed(2)
    return Candidates(
        facts=tuple(ModelFacts(f"m{i}", 1.0, 1.0) for i in range(count)),
        is_prior=(False,) * count,
        profile=torch.randn(count, 2 + 3 + 1 + P),
        bias=torch.randn(count),
        log_tokens=torch.rand(count) * 3,
        protocol=torch.arange(count) % P,
        price_in=torch.rand(count) * 5,
        price_out=torch.rand(count) * 20,
        cost_range_usd=0.001,
    )


def test_the_columns_of_an_item_are_profile_bias_and_prices_at_its_protocol():
    candidates = pool(2)
    items = item_vectors(candidates, P)
    assert items.shape == (2, 9 + 1 + 1 + P)
    assert torch.equal(items[:, :9], candidates.profile) and torch.equal(items[:, 9], candidates.bias)
    answer = (candidates.price_out * candidates.log_tokens.exp()).tolist()
    assert items[:, 10:].tolist() == [
        pytest.approx([float(candidates.price_in[0]), answer[0], 0, 0]),
        pytest.approx([float(candidates.price_in[1]), 0, answer[1], 0]),
    ]


@pytest.mark.parametrize("weight", [0.0, 3.0, 4000.0])
def test_the_product_is_the_tangent_of_utility(weight):
    candidates, asked, tokens = pool(), query(), torch.tensor([30.0, 500.0])
    at, weights = torch.tensor([0.5, -1.0]), torch.full((B,), weight)
    product = search_vectors(asked, tokens, weights, at) @ item_vectors(candidates, P).T
    tangent = sigmoid_slope(at)[:, None] * candidates.logits(asked.vector) - weight * candidates.cost(asked, tokens)
    ratio = tangent / product  # each search vector has a scale of its own
    assert torch.allclose(ratio, ratio[:, :1].expand(-1, M), rtol=1e-3)
    assert (ratio > 0).all()


def test_at_an_infinite_weight_cost_counts_and_quality_only_among_equals():
    candidates, asked, tokens = pool(), query(), torch.tensor([30.0, 500.0])
    search = search_vectors(asked, tokens, torch.full((B,), torch.inf), torch.zeros(B))
    assert (search[:, :10].abs() < 1e-3).all() and (search.abs().amax(dim=1) == 1).all()
    order = (search @ item_vectors(candidates, P).T).argsort(dim=1, descending=True)
    assert torch.equal(order, candidates.cost(asked, tokens).argsort(dim=1))


@pytest.mark.parametrize("weight", [0.0, 50.0, 2000.0])
def test_models_of_nearly_equal_logits_come_in_the_order_of_their_utility(weight):
    candidates, asked, tokens = pool(40), query(), torch.tensor([30.0, 500.0])
    object.__setattr__(candidates, "profile", candidates.profile * 0.02)
    object.__setattr__(candidates, "bias", 1 + candidates.bias * 0.02)
    weights = torch.full((B,), weight)
    tangent = tangent_logit(candidates, asked, tokens, weights)
    product = search_vectors(asked, tokens, weights, tangent) @ item_vectors(candidates, P).T
    seen = candidates.predict(asked, tokens)
    utility = scoring.utility(seen.quality.double(), seen.cost_usd.double(), weights)
    assert torch.equal(product.argmax(dim=1), utility.argmax(dim=1))
    ranks = [each.argsort(dim=1).argsort(dim=1) for each in (product, utility)]
    assert (ranks[0] - ranks[1]).abs().max() <= 1


def test_the_tangent_touches_at_the_best_by_utility_not_by_quality():
    candidates, asked, tokens = pool(), query(), torch.tensor([30.0, 500.0])
    logits = candidates.logits(asked.vector)
    free, dear = (tangent_logit(candidates, asked, tokens, torch.full((B,), w)) for w in (0.0, torch.inf))
    assert torch.equal(free, logits.amax(dim=1))
    cheapest = candidates.cost(asked, tokens).argmin(dim=1)
    assert torch.equal(dear, logits[torch.arange(B), cheapest])
    assert not torch.equal(free, dear)


def test_where_only_quality_counts_the_cheaper_of_two_equals_comes_first_and_where_only_cost_does_the_better():
    candidates, asked, tokens = pool(2), query(), torch.tensor([30.0, 500.0])
    for name in ("profile", "bias", "log_tokens", "protocol"):
        part = getattr(candidates, name)
        object.__setattr__(candidates, name, part[:1].expand_as(part).clone())
    object.__setattr__(candidates, "price_in", torch.tensor([1.0, 0.5]))
    object.__setattr__(candidates, "price_out", torch.tensor([1.0, 0.5]))
    free = torch.zeros(B)
    cheaper = search_vectors(asked, tokens, free, free, least_weight=0.1) @ item_vectors(candidates, P).T
    assert (cheaper[:, 1] > cheaper[:, 0]).all()
    for name in ("price_in", "price_out"):
        object.__setattr__(candidates, name, torch.zeros(2))
    object.__setattr__(candidates, "bias", torch.tensor([0.0, 1.0]))
    better = search_vectors(asked, tokens, torch.full((B,), torch.inf), free) @ item_vectors(candidates, P).T
    assert (better[:, 1] > better[:, 0]).all()
