"""Finds the tail of a query that looks like a suffix made to move its route (Shafran et al., 2501.01818).

Such suffixes are found by trying tokens, so they are rows of rare words. How rare a word is, is read off the tokenizer:
vocabularies are ordered by frequency, so no counts are stored. Knows no network and no route; `Router.route` asks
whether a tail changes a route. Axes: V vocabulary.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

WINDOW = 32  # tokens at the end that are looked at
READ_CHARS = 1000  # far more than that many tokens take
FLOOR = -1.0  # what one frequent word may count against rare ones: more would let a few hide a gadget or a part of it
LIMIT = 3.0  # chosen on folds 0 to 7 of RouteMix-open: with what `Router.route` asks besides, under 1% are flagged


class TailGuard:
    """Looks at the ends of texts with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.rarity = rarity(tokenizer)

    def tail(self, text: str) -> str | None:
        """The end of `text`, at most `WINDOW` tokens, whose words are rarer than text's are; None where there is none.

        Never the whole of it: what is left before the tail is not blank.
        """
        read = text[-READ_CHARS:]
        start = len(text) - len(read)
        encoding = self.tokenizer.encode(read, add_special_tokens=False)
        ids, spans = encoding.ids[-WINDOW:], encoding.offsets[-WINDOW:]
        best, score = LIMIT, 0.0
        found = None
        for token, (first, _) in zip(reversed(ids), reversed(spans), strict=True):
            score += self.rarity[token]
            if score > best and begins_word(text, start + first):
                best, found = score, start + first
        return text[found:] if found and text[:found].strip() else None


def begins_word(text: str, at: int) -> bool:
    """Whether no word is cut in two at character `at`.

    >>> [begins_word("ab c", at) for at in (0, 1, 3)]
    [True, False, True]
    """
    return at == 0 or not (text[at - 1].isalnum() and text[at].isalnum())


def rarity(tokenizer: Tokenizer) -> NDArray[np.float64]:
    """By how much (V,) each token is likelier in a row of random tokens than in text; in nats, at least `FLOOR`.

    By Zipf's law the r-th most frequent of V tokens has probability 1 / (r ln V) in text; in a random row it has 1 / V.
    A sum over tokens is a log likelihood ratio. Single characters stand in the vocabulary by code point, not frequency:
    those of ASCII count as frequent, the others as rare.
    """
    size = tokenizer.get_vocab_size()
    rank = np.ones(size)
    seen = 0
    for token in range(size):
        piece = (tokenizer.id_to_token(token) or "").removeprefix("##").removeprefix("Ġ")
        if piece.startswith("[") and piece.endswith("]"):
            continue  # [CLS], [unused7]: no text
        if len(piece) > 1:
            seen += 1
            rank[token] = seen
        elif not piece.isascii():
            rank[token] = size
    return np.maximum(np.log(rank) + math.log(math.log(size) / size), FLOOR)
