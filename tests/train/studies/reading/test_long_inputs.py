"""Long inputs hold their task at its place, have the promised length and depend on the seed alone."""

from collections import Counter

import pytest

from router.routing.request import MAX_QUERY_CHARS
from router.routing.router import Router
from train.studies.reading import long_inputs as made
from train.studies.reading.long_inputs import LEAST_WORDS, MOST_WORDS, PLACES, long_inputs
from train.studies.reading.texts import written


@pytest.fixture(scope="module")
def inputs():
    return long_inputs(100, 0)


def test_inputs_have_2000_to_20000_words_and_can_be_routed(inputs):
    words = [len(each.text.split()) for each in inputs]
    assert LEAST_WORDS <= min(words) < 3_000 and 15_000 < max(words) < MOST_WORDS * 1.01
    assert max(len(each.text) for each in inputs) < MAX_QUERY_CHARS


def test_a_task_stands_at_its_place_as_it_is(inputs):
    for each in inputs:
        assert each.text.count(each.task) == 1
        share = each.text.index(each.task) / (len(each.text) - len(each.task))
        assert {"start": share == 0, "middle": 0.4 < share < 0.6, "end": share == 1}[each.place]


def test_tasks_kinds_and_places_take_turns(inputs):
    tasks, pairs = Counter(each.task for each in inputs), Counter((each.kind, each.place) for each in inputs)
    assert set(tasks.values()) == {1, 2} and len(tasks) == 60
    assert len(pairs) == len(written("long_inputs")["materials"]) * len(PLACES)


def test_the_seed_decides_and_blanks_are_filled(inputs):
    few = long_inputs(4, 0)
    assert long_inputs(4, 0) == few and long_inputs(4, 1) != few
    assert not any("$name" in each.text or "$n" in each.text for each in inputs)
    lines = next(each for each in few if each.kind == "server log").text.split("\n\n")
    assert len(set(lines)) > 0.99 * len(lines)


def test_the_share_counts_inputs_that_read_as_their_task(tiny_checkpoint, monkeypatch):
    router = Router(tiny_checkpoint)
    inputs = [made.LongInput(task, "novel", place, task) for task, place in zip("abc", PLACES, strict=True)]
    monkeypatch.setattr(made, "long_inputs", lambda *_: inputs)
    figures = made.long_figures(router, 3, 0)
    assert [each.value for each in figures] == [1] * 4 and [each.n for each in figures] == [3, 1, 1, 1]
