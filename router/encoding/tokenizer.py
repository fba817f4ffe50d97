"""Query tokenizer: texts to token ids; of a long text what it asks, then what it asks about.

`wrappers` opens JSON, transcripts and the like, `reading` finds the parts of a long text; here each gets its share of
the tokens. It also forms batches of ids. It works in numpy, so that encoders with and without torch read the same. It
knows no network. Axes: B texts, T tokens.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, concat
from router.encoding.reading import Parts, ends, parts
from router.encoding.sentence_folder import SentenceFolder
from router.encoding.wrappers import Opened, opened
from router.errors import QueryError, UsageError

MAX_CHARS_PER_TOKEN = 20  # far above the mean of any text: characters beyond so many per token are not tokenised
# Shares of the tokens for the material: it also gets what the task leaves, but then no more than the task has, since an
# embedding is a mean over tokens, and much material would drown a short task.
MATERIAL_SHARE = 0.25
BEGINNING_SHARE = 2 / 3  # of a material's tokens, for its beginning; the rest is for its end
FRAME_SHARE = 0.25  # of the task's tokens, for system prompts, reminders and tool schemas
MOST_MATERIALS = 8  # texts of it that are read
_CHUNK = 1024  # texts tokenised, or computed, at a time, to bound memory
CORRECT_TYPOS = (
    "correct_typos was removed: spelling correction took terms for typos (async became sync, sqrt became sort) and no "
    "gain was measurable; leave it out"
)
REMOVED = {
    "correct_typos": CORRECT_TYPOS,
    "head_share": "head_share was removed: long texts are read in parts, the task before the material; leave it out",
}


class QueryTokenizer:
    """The tokenizer of an encoder's folder, with the rule for long texts.

    Args:
        described: the folder.
        max_tokens: texts longer than this, special tokens included, are read in parts.
        removed: nothing: an option of REMOVED gets its error.

    Raises UsageError where an argument does not fit the encoder or was removed.
    """

    def __init__(self, described: SentenceFolder, max_tokens: int = 256, **removed: object) -> None:
        if gone := next((name for name in removed if name in REMOVED), None):
            raise UsageError(REMOVED[gone])
        if removed:
            raise TypeError(f"an encoder has no option {', '.join(removed)}")
        self.tokenizer = described.tokenizer
        self.max_tokens = max_tokens
        probe = self.tokenizer.encode("a")
        content = [i for i, special in enumerate(probe.special_tokens_mask) if not special] or [len(probe.ids)]
        self._prefix, self._suffix = probe.ids[: content[0]], probe.ids[content[-1] + 1 :]
        self._pad_id = int(described.config.get("pad_token_id") or 0)
        least = len(self._prefix) + len(self._suffix) + 2
        most = _positions(described)
        if not least <= max_tokens <= most:
            raise UsageError(f"max_tokens must lie between {least} and {most} for this encoder, got {max_tokens}")

    @property
    def suffix_tokens(self) -> int:
        """How many special tokens end each text."""
        return len(self._suffix)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with special tokens, at most `max_tokens`.

        A text that fits is read as it is, without its wrapper where it surely has one. A longer one is read in parts:
        what it asks, then the beginning and the end of its material. Raises UsageError for one string in place of a
        list, QueryError for an item that is no string of valid Unicode.
        """
        if isinstance(texts, str):
            raise UsageError("encode takes a list of texts, got one string: write [text]")
        return [ids for start in range(0, len(texts), _CHUNK) for ids in self._tokenize(texts[start : start + _CHUNK])]

    def _tokenize(self, texts: Sequence[str]) -> Iterator[list[int]]:
        room = self.max_tokens - len(self._prefix) - len(self._suffix)
        reach = 2 * MAX_CHARS_PER_TOKEN * self.max_tokens
        try:
            found = [opened(text) for text in texts]
            whole = self._ids([each.task[: reach + 1] for each in found])
            pairs = zip(found, whole, strict=True)
            kept = [self._kept(text, ids if len(text.task) <= reach else None, room) for text, ids in pairs]
        except (TypeError, UnicodeEncodeError) as error:
            raise QueryError(f"a text to encode is not a string of valid Unicode: {error}") from error
        for ids in kept:
            yield [*self._prefix, *ids, *self._suffix] or [self._pad_id]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text without special tokens."""
        return [each.ids for each in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _kept(self, text: Opened, ids: list[int] | None, room: int) -> list[int]:
        """The token ids that are read of a text, at most `room`. `ids`: of its task, None where it is far too long."""
        fits = ids is not None and len(ids) <= room
        found = Parts((), "") if fits else parts(text.task)
        about = self._ids([ends(each) for each in (found.material, *text.material)[:MOST_MATERIALS]])
        share = int(MATERIAL_SHARE * room)
        if fits:
            asked = list(ids or ())
        else:
            pieces = self._ids([piece.text for piece in found.instruction])
            order = [(piece.at, each) for piece, each in zip(found.instruction, pieces, strict=True)]
            asked = _filled(order, room - min(sum(map(len, about)), share))
        left = room - len(asked)
        kept = [*asked, *_shared(about, min(left, max(share, len(asked))) if asked else left)]
        frame = self._ids([ends(each) for each in text.frame[:1]])
        return kept + _shared(frame, min(room - len(kept), int(FRAME_SHARE * len(asked))))

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
        """Texts longer than this are read in parts."""
        return self.tokenizer.max_tokens

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


def _filled(pieces: Sequence[tuple[int, list[int]]], room: int) -> list[int]:
    """The ids of as many pieces (position, ids) as fit, the first ones first, in the order of their positions.

    >>> _filled([(9, [1, 2]), (0, [3]), (4, [5, 6, 7])], 4)
    [3, 5, 1, 2]
    """
    kept = []
    for at, ids in pieces:
        kept.append((at, ids[:room]))
        room -= len(kept[-1][1])
    return [token for _, ids in sorted(kept) for token in ids]


def _shared(texts: Sequence[list[int]], room: int) -> list[int]:
    """The beginnings and ends of texts, at most `room` ids: a text leaves half of the room to those after it.

    >>> _shared([[1, 2, 3, 4, 5, 6], [7, 8]], 5)
    [1, 2, 3, 6, 7]
    """
    sizes = [0] * len(texts)
    for half in (True, False):  # then what is left over
        for row, ids in enumerate(texts):
            left = room - sum(sizes)
            sizes[row] += min(len(ids) - sizes[row], -(-left // 2) if half else left)
    begins = [round(BEGINNING_SHARE * size) for size in sizes]
    return [
        token
        for ids, size, begin in zip(texts, sizes, begins, strict=True)
        for token in (ids if size == len(ids) else [*ids[:begin], *ids[len(ids) - size + begin :]])
    ]


def _positions(described: SentenceFolder) -> int:
    """The number of the transformer's positions for tokens."""
    config = described.config
    limit = int(config.get("max_position_embeddings") or 1 << 20)
    offset = config["model_type"] in {"roberta", "xlm-roberta", "camembert", "mpnet"}  # they count on from the pad id
    return limit - int(config.get("pad_token_id") or 0) - 1 if offset else limit
