"""The search raises what it aims at, with tokens that survive being text; its slope is the numerical one."""

import numpy as np
import pytest
import torch
from fixtures.tiny_checkpoint import make_steerable_router

from router.errors import UsageError
from router.evaluation.pool_report import PoolOutcomes
from train.studies.robustness.flips import Sample
from train.studies.robustness.gadgets import (
    GadgetSearch,
    Search,
    expected_cost,
    gadget_figures,
    lead,
    routes,
    with_suffix,
    word_embeddings,
    wrongly_flagged,
)

TEXTS = [f"{a} {b} {c}?" for a in ("prove", "write", "who") for b in ("that", "code", "is") for c in ("python", "root")]
SMALL = Search(steps=12, tokens=4, batch=len(TEXTS), proposals=4)


@pytest.fixture(scope="module")
def router(tiny_checkpoint):
    return make_steerable_router(tiny_checkpoint, TEXTS)


def search(router, aim, settings=SMALL, dial=0.0):
    return GadgetSearch(router, router.pool("both"), dial, aim, settings)


def to_large(utility, _):
    return lead(utility, 0)


def test_a_gadget_raises_the_lead_of_its_target_on_the_queries_it_is_found_on(router):
    found = search(router, to_large)
    gadget = found.find(TEXTS)
    assert found.value(TEXTS, gadget) > found.value(TEXTS, "the the the the") + 0.01
    assert len(found.ids(gadget)) == 4
    assert gadget == search(router, to_large).find(TEXTS)  # by seed alone


def test_every_step_keeps_or_raises_the_aim_when_all_queries_are_in_the_batch(router):
    values = []
    for steps in (1, 4, 8):
        found = search(router, to_large, Search(steps, 4, len(TEXTS), 4))
        values.append(found.value(TEXTS, found.find(TEXTS)))
    assert values == sorted(values) and values[0] < values[-1]


def test_proposals_are_other_texts_of_as_many_tokens_which_differ_in_one_place(router):
    found = search(router, to_large)
    ids = found.ids("the the the the")
    proposals = found.proposals(TEXTS, ids, 2)
    assert 0 < len(proposals) <= SMALL.proposals
    for changed in proposals:
        assert [a != b for a, b in zip(ids, changed, strict=True)] == [False, False, True, False]
        assert found.ids(found.tokenizer.decode(changed)) == changed


def test_the_slope_is_the_numerical_one(router):
    found = search(router, to_large)
    ids, place, table = found.ids("the root of code"), 2, word_embeddings(router.encoder)
    slope = found.slope(TEXTS, ids, place)
    direction = torch.randn(len(slope), generator=torch.Generator().manual_seed(0))

    def moved(by: float) -> float:
        def shift(module, inputs, output):
            changed = output.clone()
            for row, text in enumerate(router.encoder.tokenize([with_suffix(t, "the root of code") for t in shown])):
                changed[row, len(text) - 1 - len(ids) + place] += by * direction
            return changed

        total = 0.0
        for text in TEXTS:
            shown = [text]
            hook = table.register_forward_hook(shift)
            try:
                total += found.value([text], "the root of code")
            finally:
                hook.remove()
        return total

    numerical = (moved(0.01) - moved(-0.01)) / 0.02
    assert float(slope @ direction) == pytest.approx(numerical, rel=0.02, abs=1e-3)


def test_a_softened_choice_costs_what_its_likely_models_cost():
    utility, cost = torch.tensor([[0.9, 0.1], [0.5, 0.5]]), torch.tensor([[5.0, 1.0], [5.0, 1.0]])
    assert expected_cost(utility, cost).tolist() == pytest.approx([5.0, 3.0])
    assert lead(torch.tensor([[0.9, 0.1], [0.5, 0.75]]), 1).tolist() == pytest.approx([-0.8, 0.25])


@pytest.mark.parametrize("change", [{"steps": 0}, {"tokens": 21}, {"batch": 0}, {"proposals": 0}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(UsageError, match=f"gadget {next(iter(change))} must lie in 1 to"):
        Search(**change)


@pytest.fixture(scope="module")
def sample():
    score = np.tile([1.0, 0.0], (len(TEXTS), 1))
    outcomes = PoolOutcomes(np.arange(len(TEXTS)), score, np.tile([2.0, 1.0], (len(TEXTS), 1)))
    return Sample(TEXTS, outcomes, 0, 1, TEXTS)


@pytest.mark.parametrize("aim", ["dearest", "cost"])
def test_the_report_holds_what_moved_with_the_guard_off_and_on(router, sample, aim):
    figures = gadget_figures(router, router.pool("both"), sample, 0.0, aim, SMALL)
    off, on = figures["guard_off"], figures["guard_on"]
    assert figures["dearest"] == "large" and figures["n"] == len(TEXTS)
    assert off["to_dearest"] > figures["to_dearest_before"]
    assert off["predicted_cost_shift"] > 0
    assert off["realised_cost_shift"] == pytest.approx((off["to_dearest"] - figures["to_dearest_before"]) * 1.0 / 0.25)
    assert off["flagged"] == 0
    assert on == off  # the tiny tokenizer has no rare words: nothing to flag


class Knowing:
    """A guard that knows the gadget."""

    def __init__(self, gadget: str) -> None:
        self.gadget = gadget

    def tail(self, text: str) -> str | None:
        return self.gadget if text.endswith(self.gadget) else None


def test_a_guard_that_finds_the_gadget_undoes_it_and_flags_no_ordinary_query(tiny_checkpoint, sample):
    router = make_steerable_router(tiny_checkpoint, TEXTS)
    pool = router.pool("both")
    gadget = search(router, to_large).find(TEXTS)
    before, _ = routes(router, pool, TEXTS, 0.0, guard=False)
    router.pipeline.guard = Knowing(" " + gadget)
    after, flagged = routes(router, pool, [with_suffix(text, gadget) for text in TEXTS], 0.0, guard=True)
    assert (after == before).all() and flagged.any()
    assert wrongly_flagged(router, pool, TEXTS, 0.0) == 0


def test_an_attacker_who_knows_the_guard_searches_with_it_at_work(tiny_checkpoint):
    router = make_steerable_router(tiny_checkpoint, TEXTS)
    router.pipeline.guard = Knowing("")  # every text has the empty tail, which is none
    seen = []
    route = router.route
    router.route = lambda texts, **options: seen.append(options["guard"]) or route(texts, **options)
    GadgetSearch(router, router.pool("both"), 0.0, to_large, Search(1, 2, 2, 1), guard=True).find(TEXTS)
    assert seen and all(seen)
