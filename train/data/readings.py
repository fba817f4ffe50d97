"""What training rows are read as: themselves, a variant of their text, or their text within long material.

A composed row has its text amid material, or beside a second task that is annotated as no harder: then the labels of
the harder task are those of both.

What a row is read as depends on the seed, the epoch and the row alone, so a resumed run repeats an uninterrupted one.
Knows texts; not tokens, embeddings or labels. Axes: N queries.
"""

from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from train.data.material import LONGEST_TASK, beside, composed, made_up, passages
from train.data.options import DataOptions
from train.data.variants import varied

LONGEST_SECOND = 600  # characters of a second task
SECOND_SHARE = 1 / 3  # of composed rows: those beside a second task


class Readings:
    """The texts of a run with the draws of `DataOptions.variants` and `composed`.

    Args:
        texts: of all N queries.
        train_rows: rows whose texts become material for others.
        labelled: (N,) rows with annotations, which alone are composed; with `variant_copies` they alone are read
            otherwise at all.
        level: (N,) annotated difficulty, NaN without one; a second task is of a training row with one.
        options: shares and seed.
    """

    def __init__(
        self,
        texts: Sequence[str],
        train_rows: NDArray[np.intp],
        labelled: NDArray[np.bool_],
        level: NDArray[np.float32],
        options: DataOptions,
    ) -> None:
        self.texts, self.seed, self.share = texts, options.seed, options.variants + options.composed
        self.composed_share = options.composed / self.share if self.share else 0.0
        short = np.array([len(text) <= LONGEST_TASK for text in texts], bool)
        self.varied = labelled | (options.variant_copies == 0)
        self.composable: list[bool] = (labelled & short).tolist()
        self.pools: list[list[str]] = []
        if options.composed:
            found = passages(texts[row] for row in train_rows.tolist())
            self.pools = [pool for pool in (found, made_up(Random(self.seed))) if pool]
        brief = np.array([len(text) <= LONGEST_SECOND for text in texts], bool)
        seconds = train_rows[(labelled & brief & ~np.isnan(level))[train_rows]]
        self.seconds = seconds[np.argsort(level[seconds], kind="stable")]  # the easiest first
        self.no_harder = np.searchsorted(level[self.seconds], np.nan_to_num(level, nan=-np.inf), "right").tolist()

    def drawn(self, row: int, epoch: int) -> Random | None:
        """The source of a row's reading in an epoch; None where the row is read as it is."""
        source = Random(f"{self.seed} epoch {epoch} row {row}")
        return source if self.varied[row] and source.random() < self.share else None

    def copy(self, row: int, number: int) -> tuple[str, bool]:
        """Copy `number` of a row: `read` from a source of its own."""
        return self.read(row, Random(f"{self.seed} copy {number} row {row}"))

    def read(self, row: int, source: Random) -> tuple[str, bool]:
        """Another text of a row, and whether it is composed: with other outcomes than the row's own text."""
        text, kind = self.texts[row], self.kind(row, source)
        if kind == "beside":
            second = self.seconds[source.randrange(self.no_harder[row])]
            return beside(text, self.texts[second], source), True
        return (varied(text, source), False) if kind == "varied" else (composed(text, self.pools, source), True)

    def kind(self, row: int, source: Random) -> str:
        """What `read` makes of the row, by the first number of its source: "varied", "composed" or "beside"."""
        drawn = source.random()
        if drawn >= self.composed_share or not self.composable[row]:
            return "varied"
        return "beside" if drawn < self.composed_share * SECOND_SHARE and self.no_harder[row] else "composed"
