"""Adversarial suffix guard: finds the end of a query that looks like tokens added to change its route (2501.01818).

Such suffixes are found by trial of tokens, so they consist of rare words. The tokenizer tells how rare a word is:
vocabularies are ordered by frequency, so no counts are stored. The guard knows no network; `Pipeline._guarded` checks
whether the suffix changes the route. Axes: V vocabulary.
"""

import math

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

WINDOW = 32  # tokens at the end that are examined
READ_CHARS = 1000  # far more than so many tokens need
FLOOR = -1.0  # the least score of a token: with less, a few frequent words could hide a suffix of rare ones
LIMIT = 3.0  # chosen on folds 0 to 7 of RouteMix-open: with the check in `Pipeline._guarded`, under 1% are flagged


class SuffixGuard:
    """Detector of suspicious suffixes, for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.rarity = rarity(tokenizer)

    def tail(self, text: str) -> str | None:
        """The suspicious end of `text`, at most `WINDOW` tokens of unusually rare words; None where there is none.

        It is never the whole text: what precedes it is not blank.
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
    """Whether a cut before character `at` splits no word.

    >>> [begins_word("ab c", at) for at in (0, 1, 3)]
    [True, False, True]
    """
    return at == 0 or not (text[at - 1].isalnum() and text[at].isalnum())


def rarity(tokenizer: Tokenizer) -> NDArray[np.float64]:
    """Log likelihood ratio (V,) of each token in random tokens against text, in nats, at least `FLOOR`.

    By Zipf's law the r-th most frequent of V tokens has probability 1 / (r ln V) in text; among random tokens it has
    1 / V. Vocabularies order single characters by code point, not by frequency: those of ASCII count as frequent, the
    others as rare.
    """
    size = tokenizer.get_vocab_size()
    rank = np.ones(size)
    words = 0
    for token in range(size):
        piece = (tokenizer.id_to_token(token) or "").removeprefix("##").removeprefix("Ġ")
        if piece.startswith("[") and piece.endswith("]"):
            continue  # special tokens such as [CLS] and [unused7]
        if len(piece) > 1:
            words += 1
            rank[token] = words
        elif not piece.isascii():
            rank[token] = size
    return np.maximum(np.log(rank) + math.log(math.log(size) / size), FLOOR)
