"""Data splits of a comparison: which rows train, validate and test under each regime. Columns in, masks out.

    in-distribution      five rotations whose test folds cover all ten; rotation 0 is the shipped split
    few-rows-SHARE       the same rotations with a share of the training rows, drawn by the seed
                         (no question that is tested trains or validates, none that validates trains)
    leave-one-out        one benchmark tested, or all that one word begins, such as `med` (med-medqa, ...); nothing of
                         its family nor a repeat of one of its questions is trained on
    ood                  the same for each benchmark of split `ood`, left out as by `train.data.folds`

Knows no pool and no method. Results are averaged over parts: a rotation's number or a benchmark. Axes: N queries.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.errors import DataError, UsageError, known_names
from router.evaluation.dataset import Dataset
from train.compare.families import family_of, same_questions
from train.data.folds import usable_rows

Mask = NDArray[np.bool_]

REGIMES = ("in-distribution", "few-rows", "leave-one-out", "ood")
ROTATIONS = 5


@dataclass(frozen=True)
class Regime:
    """One way to split the rows, with the parts that results are averaged over."""

    kind: str  # of REGIMES
    parts: tuple[str, ...]
    share: float = 1.0  # of the training rows
    judged_folds: tuple[int, ...] = tuple(range(10))  # of leave-one-out

    @property
    def name(self) -> str:
        """Name in reports.

        >>> Regime("few-rows", ("0",), 0.05).name
        'few-rows-0.05'
        """
        return f"{self.kind}-{self.share:g}" if self.kind == "few-rows" else self.kind

    @property
    def draws_rows(self) -> bool:
        """Whether the seed selects the training rows."""
        return self.kind == "few-rows"


@dataclass(frozen=True)
class Rows:
    """Masks (N,) of one part of a regime."""

    train: Mask
    val: Mask
    test: Mask
    yardstick: Mask  # training rows before a share is drawn: best single and cheapest model are chosen on them


def rotation_folds(rotation: int) -> tuple[tuple[int, ...], int, tuple[int, int]]:
    """Training folds, validation fold and test folds of a rotation, each two folds on from the one before.

    >>> rotation_folds(0)
    ((0, 1, 2, 3, 4, 5, 6), 7, (8, 9))
    >>> rotation_folds(1)
    ((2, 3, 4, 5, 6, 7, 8), 9, (0, 1))
    """
    test = ((8 + 2 * rotation) % 10, (9 + 2 * rotation) % 10)
    val = (7 + 2 * rotation) % 10
    return tuple(fold for fold in range(10) if fold not in (val, *test)), val, test


def regimes(
    dataset: Dataset,
    kinds: Sequence[str],
    rotations: Sequence[int],
    benchmarks: Sequence[str],
    shares: Sequence[float],
    judged_folds: Sequence[int] = range(10),
) -> list[Regime]:
    """The regimes of a comparison; without `benchmarks` each one of the folder with outcomes is left out in turn.

    Raises UsageError for a benchmark that the folder lacks, and for `ood` where it has no benchmark of that split.
    """
    column, parts = dataset.queries["benchmark"], tuple(str(rotation) for rotation in rotations)
    unknown = sorted(name for name in benchmarks if not benchmarks_of(name, column))
    if unknown:
        raise UsageError(f"benchmarks: {unknown[0]!r} is not in {dataset.folder}; {known_names(unknown[0], column)}")
    found = []
    for kind in kinds:
        if kind == "few-rows":
            found += [Regime(kind, parts, share) for share in shares]
        elif kind == "in-distribution":
            found.append(Regime(kind, parts))
        elif kind == "leave-one-out":
            answered = column[~np.isnan(dataset.score).all(axis=1)]
            left_out = tuple(benchmarks) or tuple(sorted(set(answered)))
            found.append(Regime(kind, left_out, judged_folds=tuple(judged_folds)))
        else:
            held_out = tuple(sorted(set(column[dataset.queries["split"] == "ood"])))
            if not held_out:
                raise UsageError(f"regime ood: {dataset.folder} has no row of split ood; use leave-one-out")
            found.append(Regime(kind, held_out))
    return found


def benchmarks_of(part: str, known: Collection[str]) -> set[str]:
    """The benchmark that a part names, otherwise those of `known` that begin with its name and a hyphen.

    >>> benchmarks_of("ikp", ["ikp", "ikp-2"]), sorted(benchmarks_of("med", ["med-qa", "medley", "med-mmlu"]))
    ({'ikp'}, ['med-mmlu', 'med-qa'])
    """
    return {part} & set(known) or {name for name in known if name.startswith(f"{part}-")}


def rows_of(dataset: Dataset, regime: Regime, part: str, seed: int) -> Rows:
    """The rows of one part of a regime; `seed` matters only to a regime that draws its training rows.

    A benchmark that is tested as a whole is judged by routers trained on the shipped folds 0 to 6 and validated on 7.
    """
    rotation = int(part) if regime.kind in ("in-distribution", "few-rows") else 0
    train_folds, val_fold, test_folds = rotation_folds(rotation)
    fold = dataset.queries["fold"].to_numpy()
    train, val, test = np.isin(fold, train_folds), fold == val_fold, np.isin(fold, test_folds)
    if regime.kind in ("in-distribution", "few-rows"):
        question = same_questions(dataset)
        val &= ~np.isin(question, question[test])
        train &= ~np.isin(question, question[test | val])
    elif regime.kind == "leave-one-out":
        benchmark = dataset.queries["benchmark"]
        test = benchmark.isin(benchmarks_of(part, set(benchmark))).to_numpy(bool) & np.isin(fold, regime.judged_folds)
        kept = ~repeats(dataset, part)
        train, val = train & kept, val & kept
    elif regime.kind == "ood":
        test = (dataset.queries["benchmark"] == part).to_numpy()
        kept = usable_rows(dataset, [name for name in regime.parts if name != part])
        train, val = train & kept, val & kept
    return Rows(_drawn(train, regime.share, seed), val, test, train)


def repeats(dataset: Dataset, part: str) -> Mask:
    """Mask (N,) of the rows of a part's benchmarks, of their families and of all rows that repeat their questions.

    Repeats have the same `group` or are near twins; for an out-of-distribution benchmark every `ood_twin` counts as
    well. DataError for a folder without the column `group`.
    """
    queries = dataset.queries
    if "group" not in queries:
        raise DataError(
            f"{dataset.folder}/queries.parquet has no column 'group' (docs/data.md), so rows that repeat a question of "
            f"{part} cannot be kept out of training: add it, the same value for the same question"
        )
    known = set(queries["benchmark"])
    families = set().union(*(family_of(name, known) for name in benchmarks_of(part, known)))
    rows = queries["benchmark"].isin(families).to_numpy(bool)
    question = same_questions(dataset)
    found = rows | np.isin(question, question[rows])
    if (queries["split"][rows] == "ood").any():
        found |= queries["ood_twin"].to_numpy(bool)
    return found


def _drawn(rows: Mask, share: float, seed: int) -> Mask:
    """A random share of the rows in a mask; a smaller share of the same seed is part of a larger one."""
    if share >= 1:
        return rows
    order = np.random.default_rng(seed).permutation(np.flatnonzero(rows))
    drawn = np.zeros_like(rows)
    drawn[order[: max(1, round(share * len(order)))]] = True
    return drawn
