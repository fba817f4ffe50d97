"""Mistyped words are read as what was meant; all else stays as it is."""

import pytest

from router.encoding.spelling import Spelling

FREQUENT = {"there": 9, "the": 8, "where": 7, "write": 6, "prove": 5, "integral": 4}
SPELLING = Spelling(["wright", "do", "whereas"], FREQUENT)
ENGLISH = Spelling.english([])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Prvoe the Integrral, wrte it.", "prove the integral, write it."),  # swapped, doubled, dropped
        ("wxite, then", "write, the"),
        ("ehere", "there"),  # as near to where; the more frequent one
        ("Prove THE Integral", None),  # known words keep their case
        ("wright whereas integrals dont", None),  # known, plural or contracted: no mistake for write, where, ...
        ("teh wri WRTE wRte", None),  # too short to tell; abbreviations
        ("prvoing integrate", None),  # two mistakes away
        ("prvoe_it \\wrte{x} a/wrte.py wrte(x) x.wrte wrte.x $wrte wrte-up 3wrte k=wrte ?wrte&wrte a:wrte", None),
        ("wrte@there.com", None),
        ("", None),
    ],
)
def test_words_one_mistake_away_are_put_right(text: str, read: str | None) -> None:
    assert SPELLING.correct(text) == (text if read is None else read)


def test_correcting_twice_changes_nothing_more() -> None:
    once = SPELLING.correct("wher is teh integal, and wherre")
    assert once == "where is teh integral, and where"
    assert SPELLING.correct(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "Use numpy and pandas to pivot a dict of floats; parse JSON and print YAML.",
        "Is the boson or the muon heavier, and what is a phonon?",
        "Does an easement survive novation when the lien holder dies intestate? Compare tort, lessor and lessee.",
        "Which is the anion and which the cation? nitrite, sulfite, chlorite, inulin, renin, codon, exon, dimer",
        "Let Euler compute sinh and tanh of an eigenvalue; analyse CRISPR, BRCA and NAND.",
        "I dont know why it isnt so, you cant and wont tell, it doesnt matter.",
    ],
)
def test_terms_of_the_trades_are_english(text: str) -> None:
    assert ENGLISH.correct(text) == text


def test_english_words_are_put_right() -> None:
    assert (
        ENGLISH.correct("Whta is teh likelly resutl of thsi experment?")
        == "what is teh likely result of this experiment?"
    )
