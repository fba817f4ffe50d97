"""Mistyped words are read as what was meant; all else stays as it is."""

import pytest

from router.spelling import Spelling

# The most frequent first.
SPELLING = Spelling(["the", "there", "where", "integral", "prove", "write", "##ing", "1234", "naïve"])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Prvoe the Integrral, wrte it.", "prove the integral, write it."),  # swapped, doubled, dropped
        ("wxite", "write"),
        ("therre", "there"),
        ("ehere", "there"),  # as near to where; the more frequent one
        ("Prove THE Integral", "Prove THE Integral"),  # known words keep their case
        ("teh wri", "teh wri"),  # too short to tell
        ("prvoing integrate", "prvoing integrate"),  # two mistakes away
        ("prvoe_it \\wrte{x} a/wrte.py wrte(x) x.wrte $wrte wrte-up 3wrte", None),  # no words of prose
        ("", ""),
    ],
)
def test_words_one_mistake_away_are_put_right(text: str, read: str | None) -> None:
    assert SPELLING.correct(text) == (text if read is None else read)


def test_correcting_twice_changes_nothing_more() -> None:
    once = SPELLING.correct("wher is teh integal, and wherre")
    assert once == "where is teh integral, and where"
    assert SPELLING.correct(once) == once
