"""The k greatest in chunks must be the k greatest of the whole, whatever the chunk, the mask or the number of ties."""

import pytest
import torch

from router.index import topk
from router.index.topk import inner_product_top_k, top_k


def test_two_hand_made_products_are_ranked():
    query, items = torch.tensor([[1.0, 0.0], [0.0, -1.0]]), torch.tensor([[3.0, 1.0], [1.0, -2.0], [2.0, 0.0]])
    values, rows = inner_product_top_k(query, items, 2)
    assert values.tolist() == [[3.0, 2.0], [2.0, 0.0]]
    assert rows.tolist() == [[0, 2], [1, 2]]


@pytest.mark.parametrize("count", [1, 7, 64, 333, 2000])
@pytest.mark.parametrize("at_once", [1, 300, 1 << 23], ids=["smallest chunks", "small chunks", "one chunk"])
def test_chunks_change_nothing(count, at_once, monkeypatch):
    monkeypatch.setattr(topk, "SCORES_AT_ONCE", at_once)
    torch.manual_seed(0)
    scores, k = torch.randn(3, count), 5
    values, rows = top_k(lambda start, stop: scores[:, start:stop], count, k, 3)
    expected = scores.topk(min(k, count), dim=1)
    assert torch.equal(values[:, :count], expected.values)
    assert torch.equal(rows[:, :count], expected.indices)
    assert (rows[:, count:] == -1).all() and (values[:, count:] == -torch.inf).all()


def test_no_chunk_is_larger_than_what_is_held_at_once(monkeypatch):
    monkeypatch.setattr(topk, "SCORES_AT_ONCE", 4 * topk.GROUP * 10)
    widths = []
    top_k(lambda start, stop: widths.append(stop - start) or torch.zeros(4, stop - start), 1000, 2, batch=4)
    assert max(widths) * 4 <= topk.SCORES_AT_ONCE and sum(widths) == 1000


def test_a_mask_leaves_out_and_too_few_are_told_by_minus_one():
    query, items = torch.ones(1, 2), torch.arange(8.0).reshape(4, 2)
    _, rows = inner_product_top_k(query, items, 3, torch.tensor([True, False, True, False]))
    assert rows.tolist() == [[2, 0, -1]]


def test_nothing_to_choose_from_is_an_error():
    with pytest.raises(ValueError, match="no candidate to score"):
        inner_product_top_k(torch.ones(1, 2), torch.zeros(0, 2), 3)


@pytest.mark.gpu
def test_a_gpu_finds_what_a_cpu_finds():
    query, items = torch.randn(3, 7, dtype=torch.float64), torch.randn(5000, 7, dtype=torch.float64)
    values, rows = inner_product_top_k(query.cuda(), items.cuda(), 5)
    expected = (query @ items.T).topk(5, dim=1)
    assert torch.equal(rows.cpu(), expected.indices) and torch.allclose(values.cpu(), expected.values)
