"""Two passes must find what one exact product finds: with masks, ties, few items, and queries taken in parts."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from router.index import gpu_topk
from router.index.gpu_topk import best_products, chunked_maxima, fused_maxima


@pytest.fixture(autouse=True)
def without_triton(request, monkeypatch):
    if "gpu" not in request.keywords:
        monkeypatch.setattr(gpu_topk, "HAS_TRITON", False)  # its kernels need a GPU


def expected(query, items, k, admitted):
    scores = query @ items.T
    scores = scores if admitted is None else scores.masked_fill(~admitted, -torch.inf)
    values, rows = scores.topk(min(k, len(items)), dim=1)
    return values, rows.masked_fill(values == -torch.inf, -1)


@pytest.mark.parametrize("count", [1, 7, 64, 65, 2000])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("at_once", [1, 1 << 28], ids=["a query at a time", "all queries at once"])
def test_both_passes_find_the_exact_best(count, masked, at_once, monkeypatch):
    monkeypatch.setattr(gpu_topk, "NUMBERS_AT_ONCE", at_once)
    monkeypatch.setattr(gpu_topk, "SCORES_AT_ONCE", 600)
    torch.manual_seed(0)
    query, items, k = torch.randn(5, 6), torch.randn(count, 6), 4
    admitted = torch.rand(count) > 0.4 if masked else None
    values, rows = best_products(query, items, k, admitted)
    of_all, at = expected(query, items, k, admitted)
    assert values.shape == rows.shape == (5, k)
    assert torch.allclose(values[:, :count], of_all) and torch.equal(rows[:, :count], at)
    assert (rows[:, count:] == -1).all() and (values[:, count:] == -torch.inf).all()


def test_maxima_are_those_of_groups_in_a_row():
    items = torch.arange(2.0 * gpu_topk.GROUP + 1)[:, None]
    last = [gpu_topk.GROUP - 1, 2 * gpu_topk.GROUP - 1, 2 * gpu_topk.GROUP]
    assert chunked_maxima(torch.tensor([[1.0], [-1.0]]), items).tolist() == [last, [0, -gpu_topk.GROUP, -last[2]]]
    nobody = torch.zeros(len(items), dtype=torch.bool)
    assert (chunked_maxima(torch.ones(1, 1), items, nobody) == -torch.inf).all()


def test_equal_items_are_each_named_once():
    rows = best_products(torch.ones(1, 2), torch.ones(200, 2), 5)[1][0].tolist()
    assert len(set(rows)) == 5 and all(0 <= row < 200 for row in rows)


INTERPRETED = """
import torch
from router.index.gpu_topk import chunked_maxima, fused_maxima
torch.manual_seed(0)
for rows, count, columns in ((3, 7, 5), (130, 1000, 58), (5, 129, 70)):
    query, items = torch.randn(rows, columns), torch.randn(count, columns)
    for admitted in (None, torch.rand(count) > 0.3, torch.zeros(count, dtype=torch.bool)):
        assert torch.allclose(fused_maxima(query, items, admitted), chunked_maxima(query, items, admitted), atol=1e-4)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed (it comes with torch for CUDA)")
def test_the_kernel_as_triton_interprets_it_gives_the_same_maxima():
    interpreted = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", INTERPRETED], capture_output=True, text=True, env=interpreted)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("masked", [False, True])
def test_the_kernel_on_a_gpu_finds_the_exact_best(masked):
    torch.manual_seed(0)
    query, items = torch.randn(300, 58), torch.randn(30_000, 58)
    admitted = torch.rand(len(items)) > 0.4 if masked else None
    on_gpu = [None if each is None else each.cuda() for each in (query, items, admitted)]
    at = expected(query.double(), items.double(), 8, admitted)[1]
    rows = best_products(on_gpu[0], on_gpu[1], 8, on_gpu[2])[1].cpu()
    assert torch.equal(rows, at)
    groups = fused_maxima(*on_gpu).cpu()
    assert torch.allclose(groups, chunked_maxima(query, items, admitted), atol=0.05)  # as TF32 rounds
