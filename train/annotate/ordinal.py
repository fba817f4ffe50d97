"""Agreement on labels of an ordered scale: Krippendorff's alpha with the ordinal distance, and Spearman's correlation.

Alpha after Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C. Counts alone are kept, so memory
does not grow with queries. Axes: L levels of the scale.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from router.evaluation.folder_tables import LEVELS

Counts = NDArray[np.float64]


class OrdinalAgreement:
    """Agreement of annotators who each give a query one of LEVELS."""

    def __init__(self) -> None:
        self.coincidences: Counts = np.zeros((len(LEVELS), len(LEVELS)))  # each query counts as often as it is read
        self.pairs: Counts = np.zeros_like(self.coincidences)  # earlier annotator's level, later annotator's

    def add(self, levels: Sequence[int]) -> None:
        """Count the levels of one query, in the annotators' order; a single one has no pair and does not count."""
        for first, second in combinations([LEVELS.index(level) for level in levels], 2):
            self.pairs[first, second] += 1
            for pair in ((first, second), (second, first)):
                self.coincidences[pair] += 1 / (len(levels) - 1)

    def alpha(self) -> float | None:
        """Krippendorff's alpha; None where all levels are equal, or there are none.

        >>> agreement = OrdinalAgreement()
        >>> coders = "123321412...", "1233224125.3", ".3332342251.", "12332441251."  # Krippendorff's C
        >>> for unit in zip(*coders):
        ...     agreement.add([int(level) for level in unit if level != "."])
        >>> round(agreement.alpha(), 3)
        0.815
        """
        count = self.coincidences.sum(axis=0)
        # The square root of the distance of two levels: how many values lie between them, and half of their own.
        distance = np.subtract.outer(*[_middle_ranks(count)] * 2) ** 2
        expected = (np.outer(count, count) * distance).sum()
        if expected <= 0:
            return None
        return float(1 - (count.sum() - 1) * (self.coincidences * distance).sum() / expected)

    def spearman(self) -> float | None:
        """Spearman's rank correlation over pairs of annotators; None where one of them gives one level alone.

        >>> agreement = OrdinalAgreement()
        >>> for pair in zip([1, 2, 3, 4, 5], [1, 2, 3, 5, 4]):
        ...     agreement.add(pair)
        >>> round(agreement.spearman(), 3)
        0.9
        """
        first, second = np.repeat(np.indices(self.pairs.shape).reshape(2, -1), self.pairs.ravel().astype(int), axis=1)
        if min(len(np.unique(each)) for each in (first, second)) < 2:
            return None
        return float(spearmanr(first, second).statistic)

    def to_json(self) -> dict[str, float | None]:
        """All figures."""
        return {"pairs": self.pairs.sum(), "alpha": self.alpha(), "spearman": self.spearman()}


def _middle_ranks(count: Counts) -> Counts:
    """Mean rank (L,) of the values of each level, up to a constant."""
    return count.cumsum() - count / 2
