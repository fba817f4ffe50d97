"""Each rewording keeps what it promises, on texts of many shapes."""

import json
import re
from difflib import SequenceMatcher

import pytest

from train.studies.robustness.rewording import (
    NEIGHBOURS,
    PERTURBATIONS,
    WORD,
    WORDS_PER_TYPO,
    perturbed,
)

TEXTS = [
    "Which of the following statements about the Roman republic is true?\n(A) It had two consuls\n(B) It had 12 kings",
    "def f(text):\n    for char in text:\n        yield char.upper()\n\nassert f('straße') == ??",
    "What is 2 + 2?",
    "  Überprüfe, ob $x^2 = 4$ für alle reellen Zahlen gilt.  \n\n",
    "word " * 60,
    "?",
    "a {} b {0} c",
]
SEEDS = range(8)


def every(name: str):
    """(text, text after the perturbation) for all texts and seeds."""
    return [(text, perturbed(text, name, seed)) for text in TEXTS for seed in SEEDS]


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_perturbation_is_a_function_of_text_and_seed(name):
    assert every(name) == every(name)


WRAPPERS = ["greeting", "system prompt", "Markdown", "code fence"]


@pytest.mark.parametrize(
    "name", ["typos", "white space", "padding", "paraphrase", "politeness", "distraction", "JSON wrapper", *WRAPPERS]
)
def test_another_seed_gives_another_text(name):
    assert len({perturbed(TEXTS[0], name, seed) for seed in range(30)}) > 2


@pytest.mark.parametrize("name", ["upper case", "lower case"])
def test_case_changes_nothing_but_case(name):
    assert all(after.casefold() == text.casefold() for text, after in every(name))


def test_white_space_keeps_words_and_lines():
    for text, after in every("white space"):
        assert [line.split() for line in after.split("\n")] == [line.split() for line in text.split("\n")]
    assert perturbed(TEXTS[1], "white space", 0).count("\n     ") >= 1  # an indented line keeps its depth


@pytest.mark.parametrize("name", ["padding", "paraphrase", "politeness", "distraction", *WRAPPERS])
def test_the_query_stands_in_the_new_text_as_it_was(name):
    for text, after in every(name):
        assert text in after and len(after) > len(text)


def test_a_json_wrapper_is_json_and_holds_the_query():
    assert all(text in json.loads(after).values() for text, after in every("JSON wrapper"))


def test_padding_is_white_space_an_opening_is_before_and_a_distraction_behind():
    assert all(after.strip() == text.strip() for text, after in every("padding"))
    assert all(after.endswith(text) for text, after in every("politeness"))
    assert all(after.startswith(text) for text, after in every("distraction"))


def test_typos_are_one_in_ten_words_and_leave_numbers_white_space_and_short_words():
    for text, after in every("typos"):
        before, now = text.split(), after.split()
        changed = [(a, b) for a, b in zip(before, now, strict=True) if a != b]
        assert re.findall(r"\s+", after) == re.findall(r"\s+", text)
        assert re.findall(r"\d+", after) == re.findall(r"\d+", text)
        assert len(changed) <= max(1, round(len(WORD.findall(text)) / WORDS_PER_TYPO))
        assert all(abs(len(a) - len(b)) <= 1 and SequenceMatcher(None, a, b).ratio() > 0.6 for a, b in changed)
    assert sum(a != b for a, b in zip(TEXTS[4].split(), perturbed(TEXTS[4], "typos", 0).split(), strict=True)) == 6
    assert perturbed("2 + 2 = ?", "typos", 0) == "2 + 2 = ?"


def test_neighbouring_keys_are_mutual():
    assert NEIGHBOURS["a"] == "qwsz"
    assert all(key in NEIGHBOURS[other] for key, others in NEIGHBOURS.items() for other in others)
