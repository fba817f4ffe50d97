"""Inter-annotator agreement: Krippendorff's alpha per axis, Jaccard index, equal first labels. Pure sums over queries.

Alpha for nominal data after Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): 1 is full agreement, 0 is
agreement by chance. The package `krippendorff` is under GPL-3 and needs all labels in memory, hence these few lines.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import combinations


def _alpha(n: float, agreeing: float, counts: Collection[float]) -> float | None:
    """Alpha of `n` pairable values, of which `agreeing` is the sum of the coincidence matrix's diagonal."""
    by_chance = n * n - sum(count * count for count in counts)
    return None if by_chance <= 0 else 1 - (n - 1) * (n - agreeing) / by_chance


@dataclass
class NominalAlpha:
    """Krippendorff's alpha of one value per annotator and query."""

    n: int = 0
    agreeing: float = 0.0
    counts: Counter[Hashable] = field(default_factory=Counter)

    def add(self, values: Sequence[Hashable]) -> None:
        """Count the values of one query's annotators; a single value has no pair and does not count."""
        m = len(values)
        if m < 2:
            return
        self.n += m
        for value, k in Counter(values).items():
            self.agreeing += k * (k - 1) / (m - 1)
            self.counts[value] += k

    def value(self) -> float | None:
        """Alpha; None where all values are equal, or there are none.

        >>> alpha = NominalAlpha()
        >>> for pair in zip("0100000000", "1110010100"):  # Krippendorff (2011), A
        ...     alpha.add(pair)
        >>> round(alpha.value(), 3)
        0.095
        """
        return _alpha(self.n, self.agreeing, self.counts.values())


@dataclass
class AxisAlpha:
    """Krippendorff's alpha of each axis: whether an annotator named it. Memory grows with axes, not with queries."""

    n: int = 0
    named: Counter[str] = field(default_factory=Counter)
    # Without what each query would add if no annotator named the axis.
    agreeing: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, sets: Sequence[Collection[str]]) -> None:
        """Count the names of one query's annotators."""
        m = len(sets)
        if m < 2:
            return
        self.n += m
        for name, k in Counter(name for names in sets for name in set(names)).items():
            self.named[name] += k
            self.agreeing[name] += (k * (k - 1) + (m - k) * (m - k - 1)) / (m - 1) - m

    def value(self, name: str) -> float | None:
        """Alpha; None where no annotator named the axis, or every annotator named it for every query."""
        k = self.named[name]
        return _alpha(self.n, self.n + self.agreeing[name], (k, self.n - k))


@dataclass
class Agreement:
    """Agreement on one kind of label, capabilities or knowledge domains, as ranked by each annotator."""

    axes: AxisAlpha = field(default_factory=AxisAlpha)
    first: NominalAlpha = field(default_factory=NominalAlpha)
    pairs: int = 0
    jaccard: float = 0.0
    first_alike: int = 0
    queries: int = 0

    def add(self, ranked: Sequence[Sequence[str]]) -> None:
        """Count the ranked labels of one query's annotators."""
        self.queries += len(ranked) > 1
        self.axes.add(ranked)
        self.first.add([names[0] for names in ranked])
        for left, right in combinations(ranked, 2):
            self.pairs += 1
            self.jaccard += len({*left} & {*right}) / len({*left} | {*right})
            self.first_alike += left[0] == right[0]

    def to_json(self, least: int) -> dict[str, object]:
        """All figures; alpha of the axes named at least `least` times."""
        shown = sorted(name for name, k in self.axes.named.items() if k >= least)
        return {
            "queries": self.queries,
            "mean_jaccard": self.jaccard / self.pairs if self.pairs else None,
            "first_label_agreement": self.first_alike / self.pairs if self.pairs else None,
            "first_label_alpha": self.first.value(),
            "alpha": {name: self.axes.value(name) for name in shown},
        }
