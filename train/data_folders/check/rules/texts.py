"""Rules for texts: duplicate queries, and lost instructions.

Duplicates are equal texts, equal questions with other answer options, and near-duplicate texts. A question in two folds
is learned in one and tested in the other. A question that an out-of-distribution benchmark also asks must be marked
`ood_twin`; otherwise a run without that benchmark still trains on its question.

A benchmark lost its instruction where its texts are only raw material. In every language some words (the, of; those of
the instruction) are in most texts of a benchmark. Lists and fragments have no such word.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from train.data_folders.check.finding import ERROR, NOTE, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.questions import group_keys, near_duplicates, words_of

FEWEST_TEXTS = 50
RECURS = 0.2  # least share of a benchmark's texts with its most frequent word
SENTENCES = 0.5  # least share of texts with the end of a sentence, where no word recurs
ENDS = (".", "?", "!", "。", "？", "！", "؟", "।")


def duplicate_findings(folder: CheckedFolder) -> Iterator[Finding]:
    """Findings about repeated texts, questions in several folds, near duplicates, and out-of-distribution twins."""
    queries = folder.dataset.queries
    texts = queries["text"].tolist()
    group = pd.Series(group_keys(texts))
    near = near_duplicates(texts, group.tolist())
    again = np.flatnonzero(queries.duplicated(["benchmark", "text"]))
    if len(again):
        yield Finding(
            NOTE,
            "repeated texts",
            counted(queries["benchmark"][again]),
            f"{len(again):,} queries repeat a text of their benchmark to the letter",
            "they count double in training and in means: keep one of each, with the mean of its outcomes",
            rows=folder.ids(again),
        )
    yield from _across_folds(folder, group, near)
    yield from _out_of_distribution(folder, group, near)


def _across_folds(folder: CheckedFolder, group: pd.Series, near: list[tuple[int, int]]) -> Iterator[Finding]:
    """Questions with rows in more than one fold, by their key or by the folder's own `group`; near duplicates."""
    queries = folder.dataset.queries
    fold, benchmark = queries["fold"], queries["benchmark"]
    straddles = fold.groupby(group).transform("nunique") > 1
    if "group" in queries:
        straddles |= fold.groupby(queries["group"]).transform("nunique") > 1
    if straddles.any():
        rows = group[straddles].sort_values(kind="stable").index
        yield Finding(
            ERROR,
            "twins across folds",
            counted(benchmark[rows]),
            f"{len(rows):,} queries ask {group[rows].nunique():,} questions that are in more than one fold, the same "
            "but for case, punctuation or answer options: tests see what was trained on",
            "draw folds from a hash of the question without its options (train.data_folders.questions.group_keys)",
            rows=folder.ids(rows),
        )
    apart = [(a, b) for a, b in near if fold[a] != fold[b]]
    if apart:
        yield Finding(
            WARNING,
            "near duplicates across folds",
            counted(" and ".join(sorted({benchmark[a], benchmark[b]})) for a, b in apart),
            f"{len(apart):,} pairs of queries in different folds differ in a few words at most",
            "compare some (near duplicates are listed side by side); give those that are one question one group and "
            "fold",
            rows=folder.ids(list(dict.fromkeys(row for pair in apart for row in pair))),
        )


def _out_of_distribution(folder: CheckedFolder, group: pd.Series, near: list[tuple[int, int]]) -> Iterator[Finding]:
    """Queries with the question of an `ood` benchmark: a note about marked ones, an error about unmarked ones."""
    queries = folder.dataset.queries
    held_out, marked = queries["split"] == "ood", queries["ood_twin"]
    twins = group.isin(set(group[held_out])) & ~held_out
    for a, b in near:
        if held_out[a] != held_out[b]:
            twins[b if held_out[a] else a] = True
    unmarked, rows = np.flatnonzero(twins & ~marked), np.flatnonzero(marked & ~held_out)
    if len(unmarked):
        yield Finding(
            ERROR,
            "unmarked twins",
            counted(queries["benchmark"][unmarked]),
            f"{len(unmarked):,} queries ask what a benchmark kept out of distribution asks too, word for word or "
            "nearly so, and are not marked",
            "set ood_twin on them, or a run on the unseen benchmark was trained on its questions",
            rows=folder.ids(unmarked),
        )
    if len(rows):
        names = " and ".join(sorted(set(queries["benchmark"][held_out]))) or "no benchmark of split ood"
        yield Finding(
            NOTE,
            "marked twins",
            counted(queries["benchmark"][rows]),
            f"{len(rows):,} queries are marked as questions of {names} too",
            "nothing: training leaves them out together with it; your own scripts must do the same",
            rows=folder.ids(rows),
        )


def counted(names: Iterable[str]) -> str:
    """The five most frequent names with their numbers.

    >>> counted(["a", "b", "a"])
    'a (2), b (1)'
    """
    count = Counter(names)
    more = f", {len(count) - 5} more" if len(count) > 5 else ""
    return ", ".join(f"{name} ({n:,})" for name, n in count.most_common(5)) + more


def instruction_findings(folder: CheckedFolder) -> Iterator[Finding]:
    """Findings about benchmarks whose texts have neither a common word nor sentences."""
    for benchmark, texts in folder.dataset.queries.groupby("benchmark", observed=True)["text"]:
        words = Counter(word for text in texts for word in set(words_of(text)))
        word, n = words.most_common(1)[0] if words else ("", 0)
        sentences = np.mean([any(end in text for end in ENDS) for text in texts])
        if len(texts) >= FEWEST_TEXTS and n / len(texts) < RECURS and sentences < SENTENCES:
            yield Finding(
                WARNING,
                "lost instruction",
                str(benchmark),
                f"the texts have no word in common (the most frequent, {word!r}, is in {n / len(texts):.0%}) and "
                f"{1 - sentences:.0%} have no sentence: material without a request",
                "put the instruction back that the models were given, or leave the benchmark out",
                rows=folder.ids(texts.index),
            )
