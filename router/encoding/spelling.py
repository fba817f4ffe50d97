"""Spelling correction: mistyped words replaced before a text is encoded, so that a typo does not change its route.

A word is replaced if neither the encoder's vocabulary nor a list of 82,000 English words (with counts, in the package
symspellpy) has it, and a frequent English word is one mistake away: one letter too many, too few or wrong, or two
letters swapped. Of several such words the most frequent is taken. A correct word that both lists lack may be replaced
too (`stdout` becomes `stout`), in training as in serving. It knows no model.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterable
from functools import lru_cache

import symspellpy
from symspellpy import SymSpell, Verbosity

# Not a part of a number, formula, path, address, identifier or compound, and not an abbreviation in capitals.
WORD = re.compile(r"(?<![\w.$\\/#@^{=:?&%_-])[A-Za-z][a-z]{3,}(?!\.?[\w$\\/#@^{(=_-])")
FREQUENT = 20_000  # words that others are corrected to; misspelt rare words are rare
ENGLISH = "frequency_dictionary_en_82_765.txt"
CACHED = 1 << 16  # words whose correction is cached


class Spelling:
    """Corrector of mistyped words.

    Args:
        known: lower-case words that are correct.
        frequent: the words that others are corrected to, with their counts.
    """

    def __init__(self, known: Iterable[str], frequent: dict[str, int]) -> None:
        self._known = {*known, *frequent}
        self._frequent = SymSpell(max_dictionary_edit_distance=1, prefix_length=7)
        for word, count in frequent.items():
            self._frequent.create_dictionary_entry(word, count)
        self._word = lru_cache(CACHED)(self._corrected)

    @classmethod
    def english(cls, known: Iterable[str]) -> Spelling:
        """The corrector for English, with further `known` words."""
        lines = (importlib.resources.files(symspellpy) / ENGLISH).read_text(encoding="utf-8-sig").splitlines()
        counts = {word: int(count) for word, count in map(str.split, lines)}
        frequent = sorted(counts, key=counts.__getitem__, reverse=True)[:FREQUENT]
        return cls({*known, *counts}, {word: counts[word] for word in frequent})

    def correct(self, text: str) -> str:
        """`text` with its mistyped words replaced by correct ones in lower case."""
        return WORD.sub(lambda match: self._word(match[0]), text)

    def corrections(self, text: str) -> dict[str, str]:
        """The correct word for each mistyped word of `text`."""
        words = {match[0]: self._word(match[0]) for match in WORD.finditer(text)}
        return {written: read for written, read in words.items() if read != written}

    def _corrected(self, word: str) -> str:
        if self._is_known(word.lower()):
            return word
        found = self._frequent.lookup(word.lower(), Verbosity.TOP, max_edit_distance=1)
        return found[0].term if found else word

    def _is_known(self, word: str) -> bool:
        """Whether the word, less a plural `s` or an `nt` for n't (dont, isnt), is in a list."""
        inflected = (word.removesuffix(ending) for ending in ("s", "nt") if word.endswith(ending))
        return word in self._known or any(stem in self._known for stem in inflected)
