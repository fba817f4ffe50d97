"""Adversarial suffix guard: finds the end of a query that looks like tokens added to change its route (2501.01818).

Such suffixes are found by trial of tokens, so they consist of rare words. The tokenizer tells how rare a word is:
vocabularies are ordered by frequency, so no counts are stored. In a vocabulary of many languages, that of a Unigram
model, words are ranked among those of their script, and a change of script counts. The guard knows no network;
`Pipeline._guarded` checks whether the suffix changes the route. Axes: V vocabulary.
"""

import unicodedata
from collections import Counter
from functools import cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

WINDOW = 32  # tokens at the end that are examined
READ_CHARS = 1000  # far more than so many tokens need
SPACE = "▁"  # begins a word's first piece in Unigram vocabularies
FLOOR = -1.0  # the least score of a token: with less, a few frequent words could hide a suffix of rare ones
SWITCH = 1.5  # score of a change of script: with 1, some suffixes of random tokens of many scripts are not found
LIMIT = 3.0  # chosen on folds 0 to 7 of RouteMix-open: with the check in `Pipeline._guarded`, under 1% are flagged


class SuffixGuard:
    """Detector of suspicious suffixes, for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.scripts = scripts(tokenizer)
        self.rarity = rarity(tokenizer)

    def tail(self, text: str) -> str | None:
        """The suspicious end of `text`, at most `WINDOW` tokens of unusually rare words; None where there is none.

        It is never the whole text: what precedes it is not blank.
        """
        read = text[-READ_CHARS:]
        start = len(text) - len(read)
        encoding = self.tokenizer.encode(read, add_special_tokens=False)
        scores, spans = self._scores(encoding.ids)[-WINDOW:], encoding.offsets[-WINDOW:]
        best, score = LIMIT, 0.0
        found = None
        for own, (first, _) in zip(reversed(scores), reversed(spans), strict=True):
            score += own
            if score > best and begins_word(text, start + first):
                best, found = score, start + first
        return text[found:] if found and text[:found].strip() else None

    def _scores(self, ids: list[int]) -> list[float]:
        """How suspicious each token is: its rarity, and SWITCH where its script is another than the one before."""
        scores, before = [], ""
        for token in ids:
            script = self.scripts[token]
            scores.append(self.rarity[token] + (SWITCH if script and before and script != before else 0.0))
            before = script or before
        return scores


def begins_word(text: str, at: int) -> bool:
    """Whether a cut before character `at` splits no word.

    >>> [begins_word("ab c", at) for at in (0, 1, 3)]
    [True, False, True]
    """
    return at == 0 or not (text[at - 1].isalnum() and text[at].isalnum())


def rarity(tokenizer: Tokenizer) -> NDArray[np.float64]:
    """Log likelihood ratio (V,) of each token in random tokens against text, in nats, at least `FLOOR`.

    By Zipf's law the r-th most frequent of V tokens has probability 1 / (r ln V) in text; among random tokens it has
    1 / V. In text of one script, r and the V of the logarithm count the tokens of that script. Single characters of
    ASCII count as frequent. A Unigram vocabulary has the others at their rank; the rest order them by code point, and
    they count as rare.
    """
    size, script = tokenizer.get_vocab_size(), scripts(tokenizer)
    is_unigram = any(script)
    special = {token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special}
    rank = np.ones(size)
    words: Counter[str] = Counter()
    for token in range(size):
        piece = (tokenizer.id_to_token(token) or "").removeprefix("##").removeprefix("Ġ").removeprefix(SPACE)
        if token in special or (piece.startswith("[") and piece.endswith("]")):
            continue  # such as [CLS], [unused7] and <s>
        if len(piece) > 1 or (is_unigram and not piece.isascii()):
            words[script[token]] += 1
            rank[token] = words[script[token]]
        elif not piece.isascii():
            rank[token] = size
    among = np.array([max(words[each], 3) if is_unigram else size for each in script])
    return np.maximum(np.log(rank * np.log(among) / size), FLOOR)


def scripts(tokenizer: Tokenizer) -> list[str]:
    """The script of each token of a Unigram vocabulary by its first letter, `""` for signs; `""` alone for others."""
    pieces = [tokenizer.id_to_token(token) or "" for token in range(tokenizer.get_vocab_size())]
    if not any(piece.startswith(SPACE) and piece != SPACE for piece in pieces):
        return [""] * len(pieces)
    return [_script(next((sign for sign in piece if sign.isalpha()), "")) for piece in pieces]


@cache
def _script(letter: str) -> str:
    """The script of a letter, by the first word of its name in Unicode; Japanese is written in three, which are one.

    >>> _script("é"), _script("字"), _script("か"), _script("")
    ('LATIN', 'CJK', 'CJK', '')
    """
    name = unicodedata.name(letter, "").partition(" ")[0] if letter else ""
    return "CJK" if name in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA") else name
