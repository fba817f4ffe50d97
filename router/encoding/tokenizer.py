"""Query tokenizer: texts to token ids, with long texts cut to their head and tail.

It also forms batches of ids. It works in numpy, so that encoders with and without torch read the same. It knows no
network. Axes: B texts, T tokens.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, concat
from router.encoding.sentence_folder import SentenceFolder
from router.errors import QueryError, UsageError

MAX_CHARS_PER_TOKEN = 20  # far above the mean of any text: characters beyond so many per token are not tokenised
_CHUNK = 1024  # texts tokenised, or computed, at a time, to bound memory
CORRECT_TYPOS = (
    "correct_typos was removed: spelling correction took terms for typos (async became sync, sqrt became sort) and no "
    "gain was measurable; leave it out"
)


class QueryTokenizer:
    """The tokenizer of an encoder's folder, with the rule for long texts.

    Args:
        described: the folder.
        max_tokens: texts longer than this, special tokens included, are clipped.
        head_share: share of the kept tokens that comes from the head of a clipped text; the rest is its tail.
        removed: nothing: CORRECT_TYPOS is the error for `correct_typos`.

    Raises UsageError where an argument does not fit the encoder or was removed.
    """

    def __init__(
        self, described: SentenceFolder, max_tokens: int = 256, head_share: float = 0.75, **removed: object
    ) -> None:
        if "correct_typos" in removed:
            raise UsageError(CORRECT_TYPOS)
        if removed:
            raise TypeError(f"an encoder has no option {', '.join(removed)}")
        self.tokenizer = described.tokenizer
        self.max_tokens = max_tokens
        self.head_share = head_share
        probe = self.tokenizer.encode("a")
        content = [i for i, special in enumerate(probe.special_tokens_mask) if not special] or [len(probe.ids)]
        self._prefix, self._suffix = probe.ids[: content[0]], probe.ids[content[-1] + 1 :]
        self._pad_id = int(described.config.get("pad_token_id") or 0)
        least = len(self._prefix) + len(self._suffix) + 2
        most = _positions(described)
        if not least <= max_tokens <= most:
            raise UsageError(f"max_tokens must lie between {least} and {most} for this encoder, got {max_tokens}")
        if not 0 <= head_share <= 1:
            raise UsageError(f"head_share must lie between 0 and 1, got {head_share}")

    @property
    def suffix_tokens(self) -> int:
        """How many special tokens end each text."""
        return len(self._suffix)

    def _ends(self, text: str) -> tuple[str, ...]:
        """The parts of a text that can be kept: the whole text, or both ends of a very long one."""
        reach = MAX_CHARS_PER_TOKEN * self.max_tokens
        return (text,) if len(text) <= 2 * reach else (text[:reach], text[-reach:])

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with special tokens, at most `max_tokens`.

        A longer text keeps its first `round(head_share * n)` and its last tokens, n together without the special ones.
        Raises UsageError for one string in place of a list, QueryError for an item that is no string of valid Unicode.
        """
        if isinstance(texts, str):
            raise UsageError("encode takes a list of texts, got one string: write [text]")
        return [ids for start in range(0, len(texts), _CHUNK) for ids in self._tokenize(texts[start : start + _CHUNK])]

    def _tokenize(self, texts: Sequence[str]) -> Iterator[list[int]]:
        room = self.max_tokens - len(self._prefix) - len(self._suffix)
        head = round(self.head_share * room)
        try:
            parts = [self._ends(text) for text in texts]
            flat = [part for pair in parts for part in pair]
            encoded = iter(self.tokenizer.encode_batch_fast(flat, add_special_tokens=False))
        except (TypeError, UnicodeEncodeError) as error:
            raise QueryError(f"a text to encode is not a string of valid Unicode: {error}") from error
        for pair in parts:
            ids = [token for _ in pair for token in next(encoded).ids]
            if len(ids) > room:
                ids = ids[:head] + ids[len(ids) - (room - head) :]
            yield [*self._prefix, *ids, *self._suffix] or [self._pad_id]

    def pad(self, ids: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`input_ids` and `attention_mask`, (B, T) each, padded on the right to the longest."""
        longest = max(map(len, ids), default=0)
        input_ids = np.full((len(ids), longest), self._pad_id, np.int64)
        mask = np.zeros((len(ids), longest), np.int64)
        for row, tokens in enumerate(ids):
            input_ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return input_ids, mask


class HasTokenizer:
    """Mixin of an encoder: the properties and methods of its tokenizer."""

    tokenizer: QueryTokenizer

    @property
    def max_tokens(self) -> int:
        """Texts longer than this are clipped."""
        return self.tokenizer.max_tokens

    @property
    def head_share(self) -> float:
        """Share of a clipped text's tokens that comes from its head."""
        return self.tokenizer.head_share

    @property
    def suffix_tokens(self) -> int:
        """See `QueryTokenizer.suffix_tokens`."""
        return self.tokenizer.suffix_tokens

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """See `QueryTokenizer.tokenize`."""
        return self.tokenizer.tokenize(texts)


def batches_by_length(ids: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Batches of rows of `ids`, at most `batch_size` each, longest first: texts of similar length need little padding.

    >>> list(batches_by_length([[7], [7, 8, 9], [7, 8]], 2))
    [[1, 2], [0]]
    """
    order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def longest_first(
    texts: Sequence[str], compute: Callable[[list[str]], Sequence[Array]], label: str, progress: bool
) -> list[Array]:
    """What `compute` makes of _CHUNK texts at a time, arrays of a row per text, for all texts in their order.

    `progress` shows a bar on stderr.
    """
    from tqdm import tqdm

    order, parts = np.argsort([-len(text) for text in texts], kind="stable"), []
    with tqdm(total=len(texts), unit="query", desc=label, disable=not progress) as bar:
        for start in range(0, len(order), _CHUNK):
            chunk = [texts[i] for i in order[start : start + _CHUNK]]
            parts.append(compute(chunk))
            bar.update(len(chunk))
    return [concat(columns)[np.argsort(order)] for columns in zip(*parts, strict=True)]


def _positions(described: SentenceFolder) -> int:
    """The number of the transformer's positions for tokens."""
    config = described.config
    limit = int(config.get("max_position_embeddings") or 1 << 20)
    offset = config["model_type"] in {"roberta", "xlm-roberta", "camembert", "mpnet"}  # they count on from the pad id
    return limit - int(config.get("pad_token_id") or 0) - 1 if offset else limit
