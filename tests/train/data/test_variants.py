"""Variants and composed texts: what of a text they keep, what they depend on, and that no study measures with them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

import train.studies
from train.data import material, variants, wordings

TEXTS = (
    "Which of these rivers is the longest?\n\nA. Nile, B. Amazon, C. Rhine.",
    "def area(r):\n    return 3.14 * r**2\n\nWhat is area(2)? Show {all} steps: $\\frac{1}{2}$.",
    "Wie weit ist es von Köln nach Straßburg, und was kostet die Fahrt?",
    "今日の天気はどうですか。傘は必要ですか？",
    "كم عدد أيام السنة؟",
    "hi",
)
UNTOUCHED = [each for each in variants.FRAMING if each not in (variants.block_quote, variants.json_wrapper)]
SEEDS = range(40)


def plain(text: str) -> str:
    """Words and numbers of a text without case, marks and white space."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def strings(value: object) -> Iterator[str]:
    """All strings within a value of tuples and dictionaries."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for each in pair for text in strings(each))
    elif isinstance(value, tuple):
        yield from (text for each in value for text in strings(each))


@pytest.mark.parametrize("text", TEXTS)
def test_frames_keep_the_text_as_it_is(text: str) -> None:
    for seed in SEEDS:
        assert all(text in variant(text, Random(seed)) for variant in UNTOUCHED)
        assert variants.block_quote(text, Random(seed)).replace("\n> ", "\n").endswith(text)
        found = json.loads(variants.json_wrapper(text, Random(seed)))
        assert text in ([found["messages"][0]["content"]] if "messages" in found else found.values())


@pytest.mark.parametrize("text", TEXTS)
def test_casing_spacing_and_punctuation_keep_the_words(text: str) -> None:
    for variant in (variants.casing, variants.spacing, variants.unpunctuated):
        assert {plain(variant(text, Random(seed))) for seed in SEEDS} == {plain(text)}


def test_typos_change_a_few_words_by_a_letter_and_no_number_formula_or_name_of_code() -> None:
    words = TEXTS[1] + " " + "several ordinary words follow here " * 20
    for seed in SEEDS:
        changed = [
            (a, b) for a, b in zip(words.split(), variants.typos(words, Random(seed)).split(), strict=True) if a != b
        ]
        assert 1 <= len(changed) <= 0.08 * len(words.split()) + 1
        assert all(abs(len(a) - len(b)) <= 1 and a[0] == b[0] and a.rstrip(":?").isalpha() for a, b in changed)
    assert variants.typos(TEXTS[3], Random(0)) == TEXTS[3]


@pytest.mark.parametrize("text", TEXTS)
def test_a_variant_depends_on_its_source_alone_and_sources_differ(text: str) -> None:
    found = [variants.varied(text, Random(seed)) for seed in SEEDS]
    assert found == [variants.varied(text, Random(seed)) for seed in SEEDS]
    assert len(set(found)) > len(SEEDS) / 2 and sum(each != text for each in found) > len(SEEDS) / 2


def test_greetings_are_in_the_language_of_the_query_or_in_english() -> None:
    languages = wordings.SCRIPTS | wordings.LATIN
    assert len(languages) >= 12
    for code, language in languages.items():
        text = (language.known_by + " ") * 2 if code in wordings.LATIN else language.closings[0]
        assert variants.likely_language(text) == code
        allowed = (*language.openings, *wordings.ENGLISH.openings)
        assert all(variants.greeting(text, Random(seed)).removesuffix(text) in allowed for seed in SEEDS)
    assert variants.likely_language("x = [1, 2]") == "en"


def test_a_composed_text_keeps_the_task_within_material_of_the_right_size() -> None:
    passages = [f"Passage {number} " + "of some words " * 20 for number in range(50)]
    task = "How many moons has Mars?"
    places, sizes = set(), []
    for seed in range(200):
        found = material.composed(task, [passages, material.made_up(Random(0))], Random(seed))
        assert found.count(task) == 1
        before, after = found.split(task)
        places.add((len(before) > 500, len(after) > 500))
        sizes.append(len(found))
        numbers = [int(number) for number in re.findall(r"Passage (\d+)", found)]
        assert all((a + 1) % 50 == b for a, b in pairwise(numbers[:-1]))  # the last one is cut
    assert places == {(True, False), (False, True), (True, True)}
    assert min(sizes) >= material.LEAST_CHARS and max(sizes) <= material.MOST_CHARS * 1.1
    assert max(sizes) > 8 * min(sizes)


def test_passages_ask_nothing() -> None:
    told = "This paragraph tells of a thing and of another thing. " * 4
    assert material.passages([f"{told}\n\nWhat?", told, f"{told} Why?\n\n{told}\n \nEnd", "short\n\nEnd"]) == [
        told,
        told,
    ]


def test_no_wording_of_training_is_one_that_a_study_measures_with() -> None:
    sources = Path(train.studies.__file__).parent.rglob("*.*")
    read = [file.read_text(encoding="utf-8") for file in sources if file.suffix in {".py", ".yaml"}]
    measured = plain(" ".join(read).replace("\\n", "\n"))
    assert "the following thank you so much in advance" in measured
    trained = {plain(text) for name, value in vars(wordings).items() if name.isupper() for text in strings(value)}
    assert [text for text in trained if len(text.split()) >= 3 and text in measured] == []
