"""Short vectors must give the same inner products on the span of a pool, and tell who stands outside of it."""

import pytest
import torch

from router.index.low_rank import LOST, LowRankProjection

D, P, SPAN = 9, 3, 4  # columns of profile and bias, price columns, directions that profiles span


def items(count=50, seed=0, span=SPAN):
    torch.manual_seed(seed)
    prices = torch.rand(count, P).exp() * torch.tensor([1.0, 500.0, 0.0])  # the last is nobody's protocol
    torch.manual_seed(99)
    directions = torch.randn(span, D)
    torch.manual_seed(seed + 1)
    return torch.cat([torch.randn(count, span) @ directions, prices], dim=1)


def test_products_are_kept_on_as_many_columns_as_are_needed():
    pool = items()
    projection = LowRankProjection.fit(pool.split(20), D)
    search = torch.randn(6, D + P)
    assert projection.length == SPAN + 2 and projection.profile_length == SPAN
    assert projection.lost < LOST
    short = projection.searches(search) @ projection.items(pool).T
    assert torch.allclose(short, search @ pool.T, atol=1e-2, rtol=1e-4)


def test_chunks_change_nothing():
    pool = items()
    one, many = LowRankProjection.fit([pool], D), LowRankProjection.fit(pool.split(7), D)
    assert torch.allclose(one.items(pool).abs(), many.items(pool).abs(), atol=1e-3)


def test_who_leaves_the_span_is_told_and_prices_do_not_matter_for_it():
    projection = LowRankProjection.fit([items()], D)
    inside, outside = items(5, seed=7), items(5, seed=7)
    inside[:, D:] *= 1000
    outside[2, :D] = torch.randn(D)
    assert (projection.outside(inside) < LOST).all()
    assert [bool(share > LOST) for share in projection.outside(outside)] == [False, False, True, False, False]


def test_places_hold_the_logarithm_of_prices():
    pool = items()
    projection = LowRankProjection.fit([pool], D)
    place = projection.place(projection.items(pool))
    assert place.shape == (50, SPAN + 2)
    assert torch.allclose(place[:, -2], 0.5 * pool[:, D].log(), atol=1e-3)
    assert torch.allclose(place[:, -1], pool[:, D + 1].log(), atol=1e-3)


def test_a_pool_of_free_models_has_no_price_columns_and_still_reduces():
    pool = items()
    pool[:, D:] = 0
    projection = LowRankProjection.fit([pool], D)
    assert projection.length == SPAN
    assert projection.place(projection.items(pool)).shape == (50, SPAN)


@pytest.mark.parametrize("span", [1, D])
def test_no_span_is_too_small_or_too_large(span):
    pool = items(span=span)
    assert LowRankProjection.fit([pool], D).profile_length == span
