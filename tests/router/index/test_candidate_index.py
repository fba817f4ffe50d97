"""The index against the exact product on a planted pool of clusters: every kind, masks, changes, a round trip."""

import hashlib
import logging
import sys

import numpy as np
import pytest
import torch

from router.errors import CheckpointError, UsageError
from router.index import candidate_index as index_module
from router.index.candidate_index import CandidateIndex, IndexFile, choose_kind
from router.index.stores import KINDS, find_faiss

D, P, K = 12, 2, 5  # columns of profile and bias, of prices, results
CPU = "cpu"
ALL = sorted(KINDS)

if find_faiss() is None:
    pytest.skip("FAISS is not installed: pip install -e '.[index]'", allow_module_level=True)


def planted(count, seed=0):
    """Item vectors in clusters, log-normal prices behind them."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(40, D, generator=torch.Generator().manual_seed(42))
    family = torch.randint(40, (count,), generator=random)
    profile = centres[family] + 0.3 * torch.randn(count, D, generator=random)
    return torch.cat([profile, torch.randn(count, P, generator=random).exp() * torch.tensor([1.0, 300.0])], dim=1)


def searches(batch=30, seed=1):
    """Search vectors of which some care for prices little and some much."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.logspace(-4, 0, batch)[:, None] * torch.tensor([-1.0, -1 / 300])
    return torch.cat([torch.randn(batch, D, generator=random), weight], dim=1)


def build(kind, items):
    return CandidateIndex.build(lambda: items.split(700), D, kind)


def exact(items, search, k=K, admitted=None):
    scores = search @ items.T
    return (scores if admitted is None else scores.masked_fill(~admitted, -torch.inf)).topk(k, dim=1)


@pytest.fixture(scope="module")
def items():
    return planted(3000)


@pytest.fixture(params=ALL)
def index(request, items):
    return build(request.param, items)


@pytest.mark.parametrize("kind", ["product", "flat"])
def test_what_reads_every_vector_agrees_with_the_exact_product(kind, items):
    scores, rows = build(kind, items).search(searches(), K)
    expected = exact(items, searches())
    assert np.array_equal(rows, expected.indices.numpy())
    assert scores == pytest.approx(expected.values.numpy(), abs=1e-3)


def test_every_kind_finds_the_winner_at_every_weight_of_prices(index, items):
    _, rows = index.search(searches(200), K)
    winners = exact(items, searches(200)).indices[:, 0].numpy()
    assert (rows == winners[:, None]).any(axis=1).mean() >= 0.99
    assert len(index) == 3000


@pytest.mark.parametrize("kind", ALL)
def test_an_index_of_the_shipped_width_is_at_most_half_again_as_large_as_the_profiles(kind, items):
    wide = torch.cat(
        [items[:, :D] @ torch.randn(D, 179, generator=torch.Generator().manual_seed(0)), items[:, D:]], dim=1
    )
    index = CandidateIndex.build(lambda: [wide], 179, kind)
    assert items.nbytes <= index.nbytes <= 1.5 * wide[:, :179].nbytes


@pytest.mark.parametrize("admitted", [1500, 40, 3, 0])
def test_a_mask_leaves_k_wherever_there_are_as_many(index, items, admitted):
    mask = np.zeros(3000, bool)
    mask[np.random.default_rng(0).choice(3000, admitted, replace=False)] = True
    _, rows = index.search(searches(), K, mask)
    found = min(K, admitted)
    assert (rows[:, :found] >= 0).all() and (rows[:, found:] == -1).all()
    assert mask[rows[rows >= 0]].all()
    if 0 < admitted <= 40:  # few enough that every kind reads them all
        expected = exact(items, searches(), found, torch.from_numpy(mask)).indices.numpy()
        assert np.array_equal(rows[:, :found], expected)


def test_what_is_removed_is_never_found_and_later_rows_move_up(index, items):
    winners = np.unique(exact(items, searches()).indices.numpy())
    index.remove(winners.tolist())
    kept = torch.from_numpy(np.setdiff1d(np.arange(3000), winners))
    assert len(index) == len(kept)
    _, rows = index.search(searches(), K)
    expected = exact(items[kept], searches()).indices.numpy()
    assert (rows[:, :1] == expected[:, :1]).mean() >= 0.95
    with pytest.raises(UsageError, match=f"run from 0 to {len(kept) - 1}, got \\[{len(kept)}\\]"):
        index.remove([len(kept)])


def test_what_is_added_is_found_without_a_rebuild(index, items):
    more = planted(200, seed=5)
    more[:, :D] *= 3  # better than all before for somebody
    index.add(more)
    _, rows = index.search(searches(), K)
    both = torch.cat([items, more])
    winners = exact(both, searches()).indices[:, 0].numpy()
    assert len(index) == 3200 and (winners >= 3000).any()
    assert (rows == winners[:, None]).any(axis=1).mean() >= 0.95
    index.remove(range(3000, 3200))
    assert (index.search(searches(), K)[1] < 3000).all()


def test_an_item_outside_of_the_directions_of_the_pool_is_always_scored():
    flat = planted(500)
    flat[:, 0] = 0  # nobody has anything there
    index = build("ivf", flat)
    assert index.projection.profile_length == D - 1
    strange = planted(2, seed=9)
    strange[:, 0] = torch.tensor([100.0, -100.0])
    index.add(strange)
    search, both = searches(), torch.cat([flat, strange])
    _, rows = index.search(search, K)
    winners = exact(both, search).indices[:, 0].numpy()
    assert np.array_equal(rows[:, 0], winners) and {500, 501} < set(winners.tolist())
    only = np.zeros(502, bool)
    only[[3, 501]] = True
    assert set(index.search(search, K, only)[1].flatten().tolist()) == {3, 501, -1}
    index.remove([500])
    kept = torch.cat([both[:500], both[501:]])
    assert np.array_equal(index.search(search, K)[1][:, 0], exact(kept, search).indices[:, 0].numpy())


def saved(file):
    """The file and the checksum of its present content."""
    return IndexFile(file, hashlib.sha256(file.read_bytes()).hexdigest())


def test_faiss_reads_only_bytes_whose_checksum_is_right(items, tmp_path, monkeypatch):
    file = tmp_path / "pool.safetensors"
    build("ivf", items).save(file, "abc")
    as_saved = saved(file)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    faiss = find_faiss()
    monkeypatch.setattr(faiss, "deserialize_index", lambda content: pytest.fail("FAISS was given unchecked bytes"))
    with pytest.raises(CheckpointError, match=r"pool\.safetensors was altered after it was saved"):
        CandidateIndex.load(as_saved, "abc")
    with pytest.raises(CheckpointError, match=r"pool\.safetensors has no checksum in the checkpoint"):
        CandidateIndex.load(IndexFile(file, None), "abc")


def test_a_saved_index_finds_the_same(index, items, tmp_path):
    index.add(planted(50, seed=5))
    index.remove([0, 17, 3001])
    file = tmp_path / "deep" / "pool.safetensors"
    index.save(file, "abc")
    again = CandidateIndex.load(saved(file), "abc")
    for before, after in zip(index.search(searches(), K), again.search(searches(), K), strict=True):
        assert np.array_equal(before, after)
    assert (again.kind, len(again), again.nbytes) == (index.kind, len(index), index.nbytes)
    again.add(planted(10, seed=6))
    again.remove([1])
    assert [each.name for each in file.parent.iterdir()] == [file.name]  # nothing is left beside it


def test_a_file_of_something_else_is_refused(items, tmp_path):
    file = tmp_path / "pool.safetensors"
    build("ivf", items).save(file, "abc")
    with pytest.raises(CheckpointError, match="built from other profiles or prices"):
        CandidateIndex.load(saved(file), "abd")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read as an index"):
        CandidateIndex.load(saved(file), "abc")
    with pytest.raises(CheckpointError, match="cannot be read as an index"):
        CandidateIndex.load(IndexFile(tmp_path / "none", None), "abc")


def test_the_kind_follows_from_size_and_device():
    assert choose_kind("auto", index_module.IVF_FROM, CPU) == "ivf"
    assert choose_kind("auto", index_module.IVF_FROM - 1, CPU) == "flat"
    assert choose_kind("ivf", 10, CPU) == "ivf"
    assert choose_kind("auto", 10**6, "cuda") == "product"


@pytest.fixture
def no_faiss(monkeypatch):
    """As where FAISS is not installed."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(index_module, "_warned", set())
    find_faiss.cache_clear()
    yield
    find_faiss.cache_clear()


def test_without_faiss_the_product_is_used_and_said_once(no_faiss, items, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert [choose_kind(wanted, 10**6, CPU) for wanted in ("auto", "ivf", "flat")] == ["product"] * 3
    assert len(caplog.records) == 1 and "pip install -e '.[index]'" in caplog.text
    index = build("product", items)
    assert np.array_equal(index.search(searches(), K)[1], exact(items, searches()).indices.numpy())
    index.save(tmp_path / "index", "abc")
    assert len(CandidateIndex.load(saved(tmp_path / "index"), "abc")) == 3000


def test_without_faiss_a_file_that_needs_it_says_so(items, tmp_path, request):
    build("flat", items).save(tmp_path / "index", "abc")
    request.getfixturevalue("no_faiss")
    with pytest.raises(CheckpointError, match="needs FAISS: pip install"):
        CandidateIndex.load(saved(tmp_path / "index"), "abc")
