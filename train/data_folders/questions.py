"""Question groups: the text without its answer options, a key for texts with the same question, its fold and split.

Folds are drawn by group, so that all twins of a question are in one fold. It knows texts only.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence

FEWEST_WORDS = 6  # of a question that has a meaning without its options; "Inflation:" has none
TEMPLATE = 10  # a question with more wordings of its options than this is a template ("Which sentence is correct?")

# In scripts without spaces each letter counts as a word.
WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")
FIRST_OPTION = re.compile(
    r"(?:\n[ \t]*(?:answer )?(?:options|choices)[ \t]*:?[ \t]*)?"  # a heading, if there is one
    r"(?:\n[ \t]*[(\[]?A[)\].:][ \t]|[ \t]\(A\)[ \t])"  # at the start of a line, or in brackets within one
    r"(?=.*?(?:\n[ \t]*[(\[]?B[)\].:]|[ \t]\(B\)[ \t]))",
    re.IGNORECASE | re.DOTALL,
)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation.

    >>> words_of("What's  2+2?")
    ['what', 's', '2', '2']
    """
    return WORD.findall(text.casefold())


def question_of(text: str) -> str:
    """The text up to its answer options; all of it where it has none, or where too few words precede them.

    >>> question_of("Which of these planets is the largest one?\\n(A) Mars\\n(B) Jupiter")
    'Which of these planets is the largest one?'
    >>> question_of("Inflation:\\nA. rises\\nB. falls")
    'Inflation:\\nA. rises\\nB. falls'
    """
    found = FIRST_OPTION.search(text)
    question = text[: found.start()] if found else text
    return question if len(words_of(question)) >= FEWEST_WORDS else text


def group_keys(texts: Sequence[str]) -> list[str]:
    """A key for each text, equal where two texts ask the same question with any options.

    Case, spaces and punctuation do not matter. A question that more than TEMPLATE texts ask with different options is
    a template; such texts are compared with their options.

    >>> a, b, c = group_keys(["Is two a prime?", "is  two a Prime", "Is four a prime?"])
    >>> a == b, a == c
    (True, False)
    """
    wholes = [" ".join(words_of(text)) or text for text in texts]
    questions = [" ".join(words_of(question_of(text))) or text for text in texts]
    wordings: defaultdict[str, set[str]] = defaultdict(set)
    for whole, question in zip(wholes, questions, strict=True):
        wordings[question].add(whole)
    return [key_of(q if len(wordings[q]) <= TEMPLATE else w) for q, w in zip(questions, wholes, strict=True)]


def key_of(text: str, digits: int = 12) -> str:
    """The first hexadecimal digits of the text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def fold_of(group: str) -> int:
    """The fold, 0 to 9, of a group's key.

    >>> fold_of("00000000000b")
    1
    """
    return int(group, 16) % 10


def split_of(fold: int) -> str:
    """The split of a fold: 0 to 6 train, 7 val, 8 and 9 test."""
    return "train" if fold < 7 else "val" if fold == 7 else "test"
