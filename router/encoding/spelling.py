"""Mistyped words put right before a text is read, so that a slip of the keyboard does not change its route.

A word that neither the encoder's vocabulary nor a list of 82,000 English words (in the package symspellpy, with
counts) knows, but that is one mistake (a letter too many, too few or wrong, or two swapped) from a frequent English
word, is read as that one; of several, as the most frequent. Words that both lists lack are at risk where they lie so
near a frequent one (`stdout` is read as `stout`), in training as in serving. Knows no model.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterable
from functools import lru_cache

import symspellpy
from symspellpy import SymSpell, Verbosity

# No part of a number, formula, path, address, identifier or compound, and no abbreviation in capitals.
WORD = re.compile(r"(?<![\w.$\\/#@^{=:?&%_-])[A-Za-z][a-z]{3,}(?!\.?[\w$\\/#@^{(=_-])")
FREQUENT = 20_000  # words that others are corrected to: mistakes of rare words are rare
ENGLISH = "frequency_dictionary_en_82_765.txt"
CACHED = 1 << 16  # words whose correction is remembered


class Spelling:
    """Corrects words.

    Args:
        known: lower-case words that are right as they are.
        frequent: those that others are corrected to, with how often each is used.
    """

    def __init__(self, known: Iterable[str], frequent: dict[str, int]) -> None:
        self._known = {*known, *frequent}
        self._frequent = SymSpell(max_dictionary_edit_distance=1, prefix_length=7)
        for word, count in frequent.items():
            self._frequent.create_dictionary_entry(word, count)
        self._word = lru_cache(CACHED)(self._corrected)

    @classmethod
    def english(cls, known: Iterable[str]) -> Spelling:
        """Of English words, with further `known` ones."""
        lines = (importlib.resources.files(symspellpy) / ENGLISH).read_text(encoding="utf-8-sig").splitlines()
        counts = {word: int(count) for word, count in map(str.split, lines)}
        frequent = sorted(counts, key=counts.__getitem__, reverse=True)[:FREQUENT]
        return cls({*known, *counts}, {word: counts[word] for word in frequent})

    def correct(self, text: str) -> str:
        """`text` with mistyped words in lower case as they should be; all else as it is."""
        return WORD.sub(lambda match: self._word(match[0]), text)

    def corrections(self, text: str) -> dict[str, str]:
        """What is read in place of each mistyped word of `text`."""
        words = {match[0]: self._word(match[0]) for match in WORD.finditer(text)}
        return {written: read for written, read in words.items() if read != written}

    def _corrected(self, word: str) -> str:
        if self._is_known(word.lower()):
            return word
        found = self._frequent.lookup(word.lower(), Verbosity.TOP, max_edit_distance=1)
        return found[0].term if found else word

    def _is_known(self, word: str) -> bool:
        """Whether it is in a list, the plural of such a word, or one with `nt` for n't: dont, isnt."""
        inflected = (word.removesuffix(ending) for ending in ("s", "nt") if word.endswith(ending))
        return word in self._known or any(stem in self._known for stem in inflected)
