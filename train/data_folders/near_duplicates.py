"""Near-duplicate texts, found exactly: a sparse product over the word triples that few texts share.

Triples that many texts share belong to a template and are not used, so that generated puzzles do not all look alike and
the product stays sparse. 33,000 queries take a second, so that MinHash is not needed. Axes: N texts, T triples.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from train.data_folders.questions import question_of, words_of

ALIKE = 0.8  # Jaccard index of the sets of word triples
# Triples that only one of two texts has, at most: three changed words, or an added sentence; not another question.
MOST_APART = 16
MAYBE = 0.6  # Jaccard index of the rare triples alone from which two texts are compared in full
RARE = 20  # a rare triple is in at most so many texts
FEWEST = 5  # rare triples that a text needs to be compared
ROWS = 2000  # of the product at a time

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def near_duplicates(texts: Sequence[str], groups: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of texts whose triples are at least ALIKE, at most MOST_APART, with the same numbers.

    The first text of each group represents the group. Answer options do not count.

    >>> a = "the old clock in the tower of the town hall struck noon when nobody listened"
    >>> near_duplicates([a, a + " today", "something else"], ["x", "y", "z"])
    [(0, 1)]
    """
    first = np.sort(np.unique(np.asarray(groups), return_index=True)[1]).tolist()
    questions = [question_of(texts[i]) for i in first]
    triples = [_triples(question) for question in questions]
    pairs = []
    for a, b in _candidates(triples):
        shared, either = len(triples[a] & triples[b]), len(triples[a] | triples[b])
        close = shared >= ALIKE * either and either - shared <= MOST_APART
        if close and sorted(NUMBER.findall(questions[a])) == sorted(NUMBER.findall(questions[b])):
            pairs.append((first[a], first[b]))
    return sorted(pairs)


def _triples(text: str) -> set[int]:
    words = words_of(text)
    return {hash(tuple(words[i : i + 3])) for i in range(len(words) - 2)}


def _candidates(triples: list[set[int]]) -> list[tuple[int, int]]:
    """Pairs whose rare triples are at least MAYBE alike."""
    row = np.repeat(np.arange(len(triples)), [len(each) for each in triples])
    flat = np.fromiter((triple for each in triples for triple in each), np.int64, len(row))
    _, column, shared_by = np.unique(flat, return_inverse=True, return_counts=True)
    rare = shared_by[column] <= RARE
    size = np.bincount(row[rare], minlength=len(triples))
    used = rare & (shared_by[column] > 1) & (size[row] >= FEWEST)
    matrix = sparse.csr_matrix(
        (np.ones(used.sum(), np.int32), (row[used], column[used])), (len(triples), len(shared_by))
    )
    found: list[tuple[int, int]] = []
    for start in range(0, len(triples), ROWS):
        later = sparse.triu(matrix[start : start + ROWS] @ matrix.T, start + 1).tocoo()
        a, b, shared = later.row + start, later.col, later.data
        alike = shared >= MAYBE * (size[a] + size[b] - shared)
        found += zip(a[alike].tolist(), b[alike].tolist(), strict=True)
    return found
