"""Questions: texts without their answer options, a key for the same question, its fold and split, and near duplicates.

Folds are drawn by group, so that all twins of a question are in one fold. Near duplicates are found exactly, by a
sparse product over the word triples that few texts share: triples that many texts share belong to a template and are
not used, so that generated puzzles do not all look alike. 33,000 queries take a second, so that MinHash is not needed.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[Any]

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
ALIKE = 0.8  # Jaccard index of the sets of word triples; share of the shorter text's runs of eight words
# Triples that only one of two texts has, at most: three changed words, or an added sentence; not another question.
MOST_APART = 16
MAYBE = 0.6  # Jaccard index of the rare triples alone from which two texts are compared in full
RARE = 20  # a rare triple or run is in at most so many texts
FEWEST = 5  # rare triples or runs that a text needs to be compared
ROWS = 2000  # of the product at a time

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


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


def near_duplicates(texts: Sequence[str], groups: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of texts whose triples are at least ALIKE, at most MOST_APART, with the same numbers.

    The first text of each group represents the group. Answer options do not count.

    >>> a = "the old clock in the tower of the town hall struck noon when nobody listened"
    >>> near_duplicates([a, a + " today", "something else"], ["x", "y", "z"])
    [(0, 1)]
    """
    first, questions = _questions(texts, groups)
    triples = [_runs(question, 3) for question in questions]
    pairs = []
    for a, b in _candidates(triples, lambda shared, a, b: shared >= MAYBE * (a + b - shared)):
        shared, either = len(triples[a] & triples[b]), len(triples[a] | triples[b])
        close = shared >= ALIKE * either and either - shared <= MOST_APART
        if close and sorted(NUMBER.findall(questions[a])) == sorted(NUMBER.findall(questions[b])):
            pairs.append((first[a], first[b]))
    return sorted(pairs)


def near_twins(texts: Sequence[str], groups: Sequence[object]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of texts where at least ALIKE of the shorter one's runs of eight words are the other's too.

    So a question in a wrapper is its twin. Runs of a template do not count; otherwise as `near_duplicates`.

    >>> a = "the old clock in the tower of the town hall struck noon when nobody listened"
    >>> near_twins([a, f"Solve this step by step, then give the answer after a colon. Question: {a} Answer:"], [0, 1])
    [(0, 1)]
    """
    first, questions = _questions(texts, groups)
    runs = [_runs(question, 8) for question in questions]
    found = _candidates(runs, lambda shared, a, b: shared >= ALIKE * np.minimum(a, b))
    return sorted((first[a], first[b]) for a, b in found)


def _questions(texts: Sequence[str], groups: Sequence[object]) -> tuple[list[int], list[str]]:
    """The first row of each group, and its text without answer options."""
    first = np.sort(np.unique(np.asarray(groups), return_index=True)[1]).tolist()
    return first, [question_of(texts[row]) for row in first]


def _runs(text: str, length: int) -> set[int]:
    """Hashes of the runs of so many words."""
    words = words_of(text)
    return {hash(tuple(words[i : i + length])) for i in range(len(words) - length + 1)}


def _candidates(runs: list[set[int]], alike: Callable[[Array, Array, Array], Array]) -> list[tuple[int, int]]:
    """Pairs that are alike, by the numbers of rare runs that they share and that each of them has."""
    row = np.repeat(np.arange(len(runs)), [len(each) for each in runs])
    flat = np.fromiter((run for each in runs for run in each), np.int64, len(row))
    _, column, shared_by = np.unique(flat, return_inverse=True, return_counts=True)
    rare = shared_by[column] <= RARE
    size = np.bincount(row[rare], minlength=len(runs))
    used = rare & (shared_by[column] > 1) & (size[row] >= FEWEST)
    matrix = sparse.csr_matrix((np.ones(used.sum(), np.int32), (row[used], column[used])), (len(runs), len(shared_by)))
    found: list[tuple[int, int]] = []
    for start in range(0, len(runs), ROWS):
        later = sparse.triu(matrix[start : start + ROWS] @ matrix.T, start + 1).tocoo()
        a, b, shared = later.row + start, later.col, later.data
        kept = alike(shared, size[a], size[b])
        found += zip(a[kept].tolist(), b[kept].tolist(), strict=True)
    return found
