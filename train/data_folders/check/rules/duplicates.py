"""Rule for duplicate queries: equal texts, equal questions with other answer options, and near-duplicate texts.

A question in two folds is learned in one and tested in the other. A question that an out-of-distribution benchmark also
asks must be marked `ood_twin`; otherwise a run without that benchmark still trains on its question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd

from train.data_folders.check.finding import ERROR, NOTE, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.near_duplicates import near_duplicates
from train.data_folders.questions import group_keys


def duplicate_findings(folder: CheckedFolder) -> list[Finding]:
    """Findings about repeated texts, questions in several folds, near duplicates, and out-of-distribution twins."""
    texts = folder.dataset.queries["text"].tolist()
    group = pd.Series(group_keys(texts))
    near = near_duplicates(texts, group.tolist())
    found = [_repeated_texts(folder), _across_folds(folder, group), _near(folder, near)]
    found += _out_of_distribution(folder, group, near)
    return [finding for finding in found if finding]


def _repeated_texts(folder: CheckedFolder) -> Finding | None:
    queries = folder.dataset.queries
    again = queries.duplicated(["benchmark", "text"])
    if not again.any():
        return None
    return Finding(
        NOTE,
        "repeated texts",
        _benchmarks(queries.loc[again, "benchmark"]),
        f"{again.sum():,} queries repeat a text of their benchmark to the letter",
        "they count double in training and in means: keep one of each, with the mean of its outcomes",
        int(again.sum()),
        folder.ids(np.flatnonzero(again)),
    )


def _across_folds(folder: CheckedFolder, group: pd.Series) -> Finding | None:
    """Questions with rows in more than one fold, by their key or by the folder's own `group`."""
    queries = folder.dataset.queries
    straddles = queries["fold"].groupby(group).transform("nunique") > 1
    if "group" in queries:
        straddles |= queries["fold"].groupby(queries["group"]).transform("nunique") > 1
    if not straddles.any():
        return None
    rows = np.flatnonzero(straddles)
    rows = rows[np.argsort(group[rows].to_numpy(), kind="stable")]
    return Finding(
        ERROR,
        "twins across folds",
        _benchmarks(queries["benchmark"][rows]),
        f"{len(rows):,} queries ask {group[rows].nunique():,} questions that are in more than one fold, the same but "
        "for case, punctuation or answer options: tests see what was trained on",
        "draw folds from a hash of the question without its options (train.data_folders.questions.group_keys)",
        len(rows),
        folder.ids(rows),
    )


def _near(folder: CheckedFolder, pairs: list[tuple[int, int]]) -> Finding | None:
    queries = folder.dataset.queries
    fold, benchmark = queries["fold"].to_numpy(), queries["benchmark"].to_numpy()
    apart = [(a, b) for a, b in pairs if fold[a] != fold[b]]
    if not apart:
        return None
    rows = list(dict.fromkeys(row for pair in apart for row in pair))
    kinds = Counter(" and ".join(sorted({benchmark[a], benchmark[b]})) for a, b in apart)
    return Finding(
        WARNING,
        "near duplicates across folds",
        _counted(kinds),
        f"{len(apart):,} pairs of queries in different folds differ in a few words at most",
        "compare some (near duplicates are listed side by side); give those that are one question one group and fold",
        len(rows),
        folder.ids(rows),
    )


def _out_of_distribution(folder: CheckedFolder, group: pd.Series, near: list[tuple[int, int]]) -> list[Finding]:
    """Queries with the question of an `ood` benchmark: a note about marked ones, an error about unmarked ones."""
    queries = folder.dataset.queries
    held_out, marked = queries["split"] == "ood", queries["ood_twin"]
    twins = group.isin(set(group[held_out])) & ~held_out
    for a, b in near:
        if held_out[a] != held_out[b]:
            twins[b if held_out[a] else a] = True
    unmarked, found = np.flatnonzero(twins & ~marked), []
    if len(unmarked):
        found.append(
            Finding(
                ERROR,
                "unmarked twins",
                _benchmarks(queries["benchmark"][unmarked]),
                f"{len(unmarked):,} queries ask what a benchmark kept out of distribution asks too, word for word or "
                "nearly so, and are not marked",
                "set ood_twin on them, or a run on the unseen benchmark was trained on its questions",
                len(unmarked),
                folder.ids(unmarked),
            )
        )
    if (marked & ~held_out).any():
        rows = np.flatnonzero(marked & ~held_out)
        names = " and ".join(sorted(set(queries["benchmark"][held_out]))) or "no benchmark of split ood"
        found.append(
            Finding(
                NOTE,
                "marked twins",
                _benchmarks(queries["benchmark"][rows]),
                f"{len(rows):,} queries are marked as questions of {names} too",
                "nothing: training leaves them out together with it; your own scripts must do the same",
                len(rows),
                folder.ids(rows),
            )
        )
    return found


def _benchmarks(names: Iterable[str]) -> str:
    return _counted(Counter(names))


def _counted(names: Counter[str]) -> str:
    """The five most frequent names with their numbers.

    >>> _counted(Counter({"a": 2, "b": 1}))
    'a (2), b (1)'
    """
    more = f", {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(f"{name} ({n:,})" for name, n in names.most_common(5)) + more
