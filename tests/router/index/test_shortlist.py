"""Decisions among a shortlist must be those among the whole pool, whatever a request demands."""

import hashlib
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from fixtures.tiny_checkpoint import edit

from router import Router
from router.checkpoint.layout import add_checksum
from router.checkpoint.storage import save_checkpoint
from router.errors import NoCandidateError, PoolError, UsageError
from router.index import candidate_index as index
from router.index import shortlist
from router.index.stores import find_faiss
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool
from router.routing.pipeline import NARROWED_TOGETHER
from router.routing.pool_cache import index_file
from scripts.bench.large_pools_data import large_checkpoint

M = 600
KINDS = ["flat", "ivf"] if find_faiss() else ["flat"]
TEXTS = ["prove that two is prime", "write python", "where is the root of a code", "who is that"]
QUERIES = [f"{text} {i}" for i in range(12) for text in TEXTS]
DIALS = [0, 5, 8, 10]


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint):
    """M drawn models, a third of them with tools, images and windows of 40 or 4,000 tokens."""
    small = deepcopy(tiny_checkpoint)
    torch.manual_seed(7)
    with torch.no_grad():
        small.network.profiles.log_tokens.fill_(4.0)
        for parameter in small.network.heads.parameters():
            parameter.normal_(std=0.5)
    chat = Pool("chat", tuple(small.pools["odd"].candidates[:2]), 0.01)
    large = large_checkpoint(replace(small, pools={"chat": chat}, default_pool="chat"), M, seed=4)
    with torch.no_grad():  # two models span one direction only: give each of the drawn ones something of its own
        large.network.profiles.weight.add_(0.3 * torch.randn(large.network.profiles.weight.shape))
    (pool,) = large.pools.values()
    members = [
        replace(each, facts=replace(each.facts, **facts))
        for row, each in enumerate(pool.candidates)
        for facts in [
            ({"tools": True, "modalities": ("text", "image")}, {"context_window": 40}, {"context_window": 4000})[
                row % 3
            ]
        ]
    ]
    return replace(large, pools={"large": replace(pool, candidates=tuple(members))})


@pytest.fixture(scope="module")
def whole(checkpoint):
    """Scores everybody, also while `listed` takes 100 models for many."""
    router = Router(checkpoint)
    router.pool_cache.shortlist = lambda pool: None
    return router


@pytest.fixture(params=["exact", *KINDS])
def listed(request, checkpoint, monkeypatch):
    """Routes among shortlists, however small the pool."""
    monkeypatch.setattr(shortlist, "INDEX_FROM", 100)
    return Router(checkpoint, index=request.param)


def same(one, other):
    assert [d.model for d in one] == [d.model for d in other]
    for first, second in zip(one, other, strict=True):
        assert [a.model for a in first.alternatives] == [a.model for a in second.alternatives]
        assert first.utility == pytest.approx(second.utility, abs=1e-6)
        assert first.reasons.runner_up == second.reasons.runner_up
        assert first.reasons.lead_utility == pytest.approx(second.reasons.lead_utility, abs=1e-6)


@pytest.mark.parametrize("dial", DIALS)
def test_decisions_are_those_among_all_candidates(whole, listed, dial):
    assert len(QUERIES) > NARROWED_TOGETHER
    decided = listed.route(QUERIES, dial=dial, top=3)
    same(decided, whole.route(QUERIES, dial=dial, top=3))
    assert listed.pool_cache.shortlists and not whole.pool_cache.shortlists
    assert [listed.route(query, dial=dial).model for query in QUERIES[:3]] == [d.model for d in decided[:3]]


def test_each_query_of_a_list_keeps_its_dial(whole, listed):
    dials = [DIALS[i % 4] for i in range(len(QUERIES))]
    decided = listed.route(QUERIES, dial=dials)
    same(decided, whole.route(QUERIES, dial=dials))
    assert [d.dial for d in decided] == dials
    assert [d.model for d in listed.route(iter(QUERIES), dial=5)] == [d.model for d in whole.route(QUERIES, dial=5)]
    with pytest.raises(UsageError, match="got 2 dials for 48 queries"):
        listed.route(QUERIES, dial=[1, 2])


@pytest.mark.parametrize(
    "demands",
    [
        {"tools": True},
        {"images": True, "max_price_usd_per_mtok": 1.0},
        {"allow": ["base1*"]},
        {"deny": ["base0-*", "base1-*"]},
        {"context_tokens": 3000},
    ],
    ids=str,
)
def test_demands_leave_as_many_as_are_asked_for(whole, listed, demands):
    decided = listed.route(QUERIES[:8], dial=4, top=6, **demands)
    same(decided, whole.route(QUERIES[:8], dial=4, top=6, **demands))
    assert all(len(d.alternatives) == 6 for d in decided)


def test_threads_that_ask_at_the_same_time_get_their_own_decisions(checkpoint, monkeypatch):
    """More different demands than are remembered, of a router whose index none of them has seen."""
    monkeypatch.setattr(shortlist, "INDEX_FROM", 100)
    monkeypatch.setattr(shortlist, "REMEMBERED", 2)
    demands = [{"deny": [f"*{n}"], "dial": n} for n in range(10)] * 3

    def routed(router, demand):
        return [decision.model for decision in router.route(QUERIES[:4], **demand)]

    router, built = Router(checkpoint), []
    build = shortlist.Shortlist._build
    monkeypatch.setattr(shortlist.Shortlist, "_build", lambda self: built.append(self) or build(self))
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(partial(routed, router), demands))
    assert found == [routed(router, demand) for demand in demands]
    assert len(built) == 1


def test_queries_of_different_lengths_are_held_against_their_own_windows(whole, listed):
    texts = ["write python " * 400, *QUERIES[:3], "prove that " * 2000]
    decided = listed.route(texts, dial=4)
    same(decided, whole.route(texts, dial=4))
    facts = {each.id: each.facts for each in whole.pool().candidates}
    assert facts[decided[0].model].context_window in (None, 4000)
    assert facts[decided[4].model].context_window is None


def test_demands_that_nobody_meets_say_who_removed_whom(listed):
    with pytest.raises(NoCandidateError, match=r"no model is left: images removed base.*; context window"):
        listed.route(QUERIES[0], images=True, context_tokens=10**6, max_price_usd_per_mtok=0)


def test_a_single_model_that_meets_the_demands_is_chosen_without_reasons_and_said_once(listed, caplog):
    name = listed.pool().ids[7]
    decision = listed.route(QUERIES[0], allow=[name])
    assert listed.route(QUERIES[0], allow=[name]) == decision
    assert [each.getMessage() for each in caplog.records if each.levelname == "WARNING"] == [
        "1 of 600 models meet these demands, fewer than the 5 asked for"
    ]
    assert decision.model == name and decision.reasons is None and len(decision.alternatives) == 1


def test_a_goal_for_a_list_still_weighs_everybody(whole, listed, monkeypatch):
    goal = {"quality_at_least": 0.5}
    assert [d.model for d in listed.route(QUERIES, **goal)] == [d.model for d in whole.route(QUERIES, **goal)]
    monkeypatch.setattr("router.routing.request.SCORED_TOGETHER", 10 * M)
    with pytest.raises(UsageError, match="48 queries on 600 models are too many: give at most 10 at a time"):
        listed.route(QUERIES, **goal)


def test_the_guard_looks_at_the_route_with_the_tail_and_without(whole, listed):
    texts = [f"{query}. zxqj vvkq jjzx qqpw zzkx wqzj xkvq" for query in QUERIES[:6]]
    one, other = (router.route(texts, dial=3, guard=True) for router in (listed, whole))
    same(one, other)
    assert [d.flagged for d in one] == [d.flagged for d in other]


def test_a_changed_pool_keeps_its_index_and_routes_as_one_made_anew(listed, whole):
    listed.route(QUERIES[0])
    built = [each.index for each in listed.pool_cache.shortlists.values()]
    best = listed.route(QUERIES, dial=0)
    gone = sorted({d.model for d in best})
    twin = Candidate(ModelFacts("twin", 0.01, 0.01), System(best[0].model, "chat"))
    pool = listed.change_pool(listed.pool(), add=[twin], remove=gone)
    assert pool.ids[-1] == "twin" and not set(gone) & set(pool.ids)
    decided = listed.route(QUERIES, pool=pool, dial=3)
    same(decided, whole.route(QUERIES, pool=pool, dial=3))
    assert "twin" in {a.model for d in decided for a in d.alternatives}
    assert [each.index for each in listed.pool_cache.shortlists.values()] == built
    with pytest.raises(PoolError, match="unknown model 'nobody'"):
        listed.change_pool(pool, remove=["nobody"])
    with pytest.raises(PoolError, match="has the name of another"):
        listed.change_pool(pool, add=[twin])


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_is_saved_with_the_checkpoint_and_built_anew_where_it_does_not_fit(kind, checkpoint, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    router = Router(checkpoint, index=kind)
    models = [d.model for d in router.route(QUERIES, dial=3)]
    router.save_pretrained(tmp_path / "router")
    file = index_file(tmp_path / "router", router.pool())
    assert file.is_file() and "building an index of 600 models" in caplog.text
    caplog.clear()
    again = Router.from_pretrained(tmp_path / "router", index=kind)
    again.route(QUERIES[0])
    assert "building" not in caplog.text
    pool = again.pool()
    cheaper = replace(pool.candidates[0], facts=replace(pool.candidates[0].facts, output_usd_per_mtok=0.001))
    again.route(QUERIES[0], pool=replace(pool, candidates=(cheaper, *pool.candidates[1:])))
    assert "was built from other profiles or prices; another is built" in caplog.text
    assert again.save_index() == file
    assert len(models) == len(QUERIES)


@pytest.mark.parametrize("how", ["altered", "planted", "gone"])
def test_an_index_whose_checksum_is_not_the_checkpoints_is_built_anew_and_breaks_nothing(
    checkpoint, tmp_path, caplog, how
):
    caplog.set_level(logging.INFO)
    router = Router(checkpoint, index="flat")
    router.route(QUERIES[0])
    router.save_pretrained(tmp_path / "router")
    file = index_file(tmp_path / "router", router.pool())
    config = tmp_path / "router" / "config.json"
    assert (
        json.loads(config.read_text())["sha256"][f"index/{file.name}"] == hashlib.sha256(file.read_bytes()).hexdigest()
    )
    if how == "altered":
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    elif how == "planted":
        edit(config, lambda raw: raw["sha256"].pop(f"index/{file.name}"))
    else:
        file.unlink()
    said = {"altered": "was altered after it was saved", "planted": "has no checksum in the checkpoint"}
    caplog.clear()
    again = Router.from_pretrained(tmp_path / "router", index="flat")
    assert again.route(QUERIES[0]).model == router.route(QUERIES[0]).model
    assert "building an index of 600 models" in caplog.text and said.get(how, "") in caplog.text
    assert again.save_index() == file
    caplog.clear()
    Router.from_pretrained(tmp_path / "router", index="flat").route(QUERIES[0])
    assert "building" not in caplog.text


def test_small_pools_have_no_index_and_a_checkpoint_without_a_folder_cannot_keep_one(checkpoint, tmp_path):
    whole = Router(checkpoint)
    with pytest.raises(UsageError, match="load the router from one"):
        whole.save_index()
    whole.save_pretrained(tmp_path / "router")
    assert Router.from_pretrained(tmp_path / "router").save_index() is None
    assert not (tmp_path / "router" / "index").exists()


def test_an_unknown_kind_is_refused(checkpoint):
    with pytest.raises(UsageError, match="index must be one of auto, exact, flat, ivf, got 'annoy'"):
        Router(checkpoint, index="annoy")
    with pytest.raises(UsageError, match=r"^hnsw was removed, .*: take auto, exact, flat or ivf; `router index --pool"):
        Router(checkpoint, index="hnsw")


def test_an_index_file_of_a_removed_kind_is_warned_of_and_built_anew(checkpoint, tmp_path, caplog):
    router = Router(checkpoint, index="flat")
    decided = router.route(QUERIES[0])
    router.pool_cache.shortlist(router.pool()).index.kind = "hnsw"
    router.save_pretrained(tmp_path / "router")
    again = Router.from_pretrained(tmp_path / "router", index="flat")
    assert again.route(QUERIES[0]).model == decided.model
    (told,) = caplog.messages
    assert ".safetensors is of a removed kind: hnsw was removed" in told and told.endswith("; another is built")
    again.save_index()
    caplog.clear()
    assert Router.from_pretrained(tmp_path / "router", index="flat").route(QUERIES[0]).model == decided.model
    assert not caplog.messages


def test_without_faiss_decisions_are_the_same_and_it_is_said_once(whole, checkpoint, monkeypatch, caplog):
    monkeypatch.setattr("router.index.shortlist.INDEX_FROM", 100)
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(index, "_warned", set())
    find_faiss.cache_clear()
    try:
        for wanted in ("auto", "ivf"):
            router = Router(checkpoint, index=wanted)
            same(router.route(QUERIES, dial=4), whole.route(QUERIES, dial=4))
            assert [each.index.kind for each in router.pool_cache.shortlists.values()] == ["product"]
    finally:
        find_faiss.cache_clear()
    said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(said) == 1 and "FAISS is not installed: large pools are searched by a full product" in said[0]


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["auto", "exact", *KINDS])
def test_decisions_on_a_gpu_are_those_on_a_cpu(kind, whole, checkpoint, monkeypatch):
    monkeypatch.setattr("router.index.shortlist.INDEX_FROM", 100)
    decided = Router(deepcopy(checkpoint), device="cuda", index=kind).route(QUERIES, dial=4, tools=True)
    assert [d.model for d in decided] == [d.model for d in whole.route(QUERIES, dial=4, tools=True)]


@pytest.mark.parametrize("index", ["exact", "flat"])
@pytest.mark.parametrize("dial", [0.0, 10.0])
@pytest.mark.parametrize("free", [0, 300])
def test_of_many_copies_the_same_one_is_taken_as_when_all_are_scored(onboarding_world, monkeypatch, index, dial, free):
    """One model at several providers: more equals than are proposed. The cheaper wins, of equal cost the better."""
    systems = [system for system in onboarding_world.checkpoint.systems if system.protocol == "chat"][:4]
    generator = np.random.default_rng(0)
    members = []
    for copy in range(600):
        price = 0.0 if copy < free else float(generator.uniform(0.1, 20))
        system = systems[copy % len(systems)]
        members.append(Candidate(ModelFacts(f"{system.model}-{copy}", price, price), system))
    pool = Pool("copies", tuple(members), 0.001)
    whole = Router(onboarding_world.checkpoint)
    monkeypatch.setattr("router.index.shortlist.INDEX_FROM", 8)
    narrowed = Router(onboarding_world.checkpoint, index=index)
    monkeypatch.setattr(whole.pool_cache, "shortlist", lambda pool: None)
    for text in TEXTS[:10]:
        one, other = (router.route(text, pool=pool, dial=dial) for router in (whole, narrowed))
        assert (other.cost_usd, other.quality) == (pytest.approx(one.cost_usd), pytest.approx(one.quality))


@pytest.mark.parametrize("damage", ["cut ids", "no tensor", "header"])
def test_a_damaged_index_is_built_anew(onboarding_world, monkeypatch, tmp_path, damage):
    from safetensors import numpy as safetensors
    from safetensors import safe_open

    save_checkpoint(onboarding_world.checkpoint, tmp_path / "router")
    pool = Pool("big", onboarding_world.checkpoint.pools["both"].candidates, 0.001)
    first = Router.from_pretrained(tmp_path / "router", index="flat")
    first.pool_cache.shortlist(pool)
    file = first.save_index(pool)
    assert file is not None
    with safe_open(file, "numpy") as content:
        metadata = content.metadata()
        parts = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    if damage == "cut ids":
        parts["ids"] = parts["ids"][:1]
    elif damage == "no tensor":
        parts = {name: part for name, part in parts.items() if not name.startswith("reduction.")}
    else:
        metadata = {"index": "[]"}
    file.write_bytes(safetensors.save(parts, metadata=metadata))
    add_checksum(tmp_path / "router", file)
    again = Router.from_pretrained(tmp_path / "router", index="flat")
    for text in TEXTS[:5]:
        assert again.route(text, pool=pool).model == first.route(text, pool=pool).model


def test_pools_of_one_name_have_indexes_of_their_own(onboarding_world, tmp_path):
    save_checkpoint(onboarding_world.checkpoint, tmp_path / "router")
    router = Router.from_pretrained(tmp_path / "router", index="flat")
    members = onboarding_world.checkpoint.pools["both"].candidates
    long = "x" * 300
    files = {router.save_index(Pool(long, some)) for some in (members, members[:1])}
    assert len(files) == 2 and all(file is not None and file.is_file() for file in files)


def test_a_pool_is_not_changed_into_what_no_pool_may_be(onboarding_world):
    router, pool = Router(onboarding_world.checkpoint), onboarding_world.checkpoint.pools["both"]
    with pytest.raises(PoolError, match="has no price"):
        router.change_pool(pool, add=[Candidate(ModelFacts("free"), None)])
    with pytest.raises(PoolError, match="no model would be left"):
        router.change_pool(pool, remove=pool.ids)
    with pytest.raises(UsageError, match="takes a list of names"):
        router.change_pool(pool, remove="known-8")
