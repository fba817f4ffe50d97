"""Choices on texts that ask the same: what counts as unchanged, what a changed choice loses, what tails cost."""

import numpy as np
import pandas as pd
import pytest
from fixtures.tiny_checkpoint import make_steerable_router

from router.options import DIAL_MAX
from train.studies.reading import invariance as rewordings
from train.studies.reading.everyday import everyday_figures
from train.studies.reading.figures import worst
from train.studies.reading.invariance import shared_dials, unchanged, utility_lost
from train.studies.reading.tails import APART, chosen_cost, tail_figures
from train.studies.reading.texts import InPool, read, written
from train.studies.reading.translations import translation_figures
from train.studies.robustness.flips import Sample

QUALITY, COST = np.array([[0.9, 0.5], [0.6, 0.55], [0.7, 0.7]]), np.tile([2.0, 1.0], (3, 1))
TEXTS = [f"{a} {b} {c}?" for a in ("prove", "write", "who") for b in ("that", "code", "is") for c in ("python", "root")]


@pytest.fixture(scope="module")
def router(tiny_checkpoint):
    return make_steerable_router(tiny_checkpoint, TEXTS)


@pytest.fixture
def pool(router):
    return router.pool("both")


def test_dials_at_which_one_model_has_three_fifths_do_not_count():
    plain = InPool(QUALITY[:2], COST[:2], 1.0)
    shares = {dial: np.bincount(plain.chosen(dial)).max() / 2 for dial in range(1, 9)}
    assert shared_dials(plain, shares) == [dial for dial, share in shares.items() if share == 0.5] != []
    assert shared_dials(InPool(QUALITY[:1], COST[:1], 1.0), range(1, 9)) == []


def test_a_changed_choice_loses_the_utility_that_the_plain_text_gives_it():
    plain, changed = InPool(QUALITY, COST, 1.0), InPool(QUALITY[:, ::-1], COST, 1.0)
    assert unchanged(plain, changed, [0.0]).tolist() == [0, 0, 1]
    assert utility_lost(plain, changed, [0.0]) == pytest.approx([0.4, 0.05, 0.0])
    assert (utility_lost(plain, changed, [1.0, 5.0, DIAL_MAX - 1]) >= 0).all()
    assert utility_lost(plain, plain, [3.0]).tolist() == [0, 0, 0]


def invariance_of(router, pool, monkeypatch, dials):
    monkeypatch.setattr(rewordings, "draw_sample", lambda *_: Sample(TEXTS, None, 0, 1, []))
    return rewordings.invariance(router, None, [pool], [8], dials, 100, 0)


def test_rewordings_are_judged_at_the_dials_that_share_the_calls(router, pool, monkeypatch):
    figures = {each.name: each for each in invariance_of(router, pool, monkeypatch, [0.0, 10.0])}
    assert len(figures) == 2 * len(rewordings.BARS)
    assert figures["upper case"].value == 1 and figures["upper case, utility lost"].value == 0  # an uncased encoder
    assert {each.note for each in figures.values()} == {"dials 0"} and figures["code fence"].n == len(TEXTS)


def test_without_a_dial_that_shares_the_calls_the_rows_fail_and_say_so(router, pool, monkeypatch):
    figures = invariance_of(router, pool, monkeypatch, [10.0])
    assert {each.verdict for each in figures} == {"falls short"} and len(figures) == len(rewordings.BARS)
    assert figures[0].note == "at each of the dials one model has 60% of the calls or more"


def test_lines_of_all_languages_match_and_an_unmoved_router_keeps_every_choice(router, pool):
    texts = written("translations")
    assert {len(set(lines)) for lines in texts.values()} == {60} and len(texts) == 7
    kept, never = translation_figures(router, [pool], [DIAL_MAX, 0.0])
    assert kept.value == 1 and kept.note == "one model has 100% in English"
    made = read(router, [*texts["en"], *texts["ru"]]).in_pool(router, pool).chosen(0.0)
    assert never.value < 1 and never.n == 60 and set(made) == {0, 1}


def test_tails_are_held_to_the_queries_and_two_tasks_to_the_dearer(router, pool):
    tails, queries = written("tails"), written("translations")["en"]
    assert len(tails) == 15 and 0 < APART < len(queries)
    figures = tail_figures(router, [pool], [3.0])
    assert len(figures) == 1 + 2 * len(tails)
    cost = [d.cost_usd for d in router.route(queries, pool=pool, dial=3, guard=True)]
    first = dict(zip(tails, figures[1::2], strict=True))["diary"]
    sent = [d.cost_usd for d in router.route([q + tails["diary"] for q in queries], pool=pool, dial=3, guard=True)]
    assert first.note == "diary" and first.value == pytest.approx(np.mean(sent) / np.mean(cost) - 1, abs=1e-4)
    both = [f"{a}\n\n{b}" for a, b in zip(queries, queries[APART:] + queries[:APART], strict=True)]
    together = [d.cost_usd for d in router.route(both, pool=pool, dial=3, guard=True)]
    dearer = np.maximum(cost, cost[APART:] + cost[:APART])
    assert figures[0].value == pytest.approx(np.mean(together) / np.mean(dearer) - 1, abs=1e-4)
    assert len(worst(figures)) == 3


def test_the_cost_of_a_choice_is_that_of_the_query_in_turn(router, pool):
    decisions = router.route(TEXTS[:2], pool=pool, dial=[0, DIAL_MAX]) * 2
    cost = np.array([[1.0, 2.0], [3.0, 4.0]])
    columns = [pool.ids.index(each.model) for each in decisions[:2]]
    assert chosen_cost(cost, pool, decisions).tolist() == [cost[0, columns[0]], cost[1, columns[1]]] * 2


def test_everyday_prompts_have_five_difficulties_and_figures_for_each_dial(router, pool):
    prompts = written("everyday")
    every = [text for texts in prompts.values() for text in texts]
    assert list(prompts) == [1, 2, 3, 4, 5] and len(set(every)) == 120
    figures = everyday_figures(router, [pool], [DIAL_MAX])
    assert [each.n for each in figures] == [120] * 3 and figures[1].value == 1
    assert pd.Series([each.verdict for each in figures]).eq("").all()
