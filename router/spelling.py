"""Mistyped words put right before a text is read, so that a slip of the keyboard does not change its route.

The dictionary is the encoder's own vocabulary: a word of prose that it does not hold whole, but that is one mistake (a
letter too many, too few or wrong, or two swapped) from one that it holds, is read as that one; of several, as the most
frequent. Rare words that happen to lie so near are read as others too, in training as in serving. Knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from symspellpy import SymSpell, Verbosity

# No part of a number, formula, path, identifier or compound.
WORD = re.compile(r"(?<![\w.$\\/#@^{_-])[A-Za-z]{4,}(?![\w$\\/#@^{(=_-])")
SHORTEST = 3  # letters of a word in the dictionary
CACHED = 1 << 16  # words whose correction is remembered


class Spelling:
    """Corrects words by a dictionary of lower-case words, the most frequent first."""

    def __init__(self, words: Iterable[str]) -> None:
        self._dictionary = SymSpell(max_dictionary_edit_distance=1, prefix_length=7)
        known = [word for word in words if len(word) >= SHORTEST and word.isascii() and word.isalpha()]
        for rank, word in enumerate(known):
            self._dictionary.create_dictionary_entry(word, len(known) - rank)
        self._word = lru_cache(CACHED)(self._nearest)

    def correct(self, text: str) -> str:
        """`text` with mistyped words in lower case as they should be; all else as it is."""
        return WORD.sub(lambda match: self._word(match[0]), text)

    def _nearest(self, word: str) -> str:
        found = self._dictionary.lookup(word.lower(), Verbosity.TOP, max_edit_distance=1)
        return found[0].term if found and found[0].distance else word
