"""Rule for format artefacts: a model that is at chance on one benchmark and good enough on the others.

Most likely the grader could not read its answers. Both must hold: its mean is far below the one expected from its other
benchmarks and this benchmark's difficulty, and its right answers do not correlate with those of the other models. Axes:
m systems and b benchmarks of a protocol.
"""

from __future__ import annotations

import numpy as np

from router.arrays import sigmoid
from train.data_folders.check.blocks import Block
from train.data_folders.check.finding import ERROR, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.check.significance import NO_AGREEMENT, Array, Mask, discoveries, lower_tail, upper_tail

FEWEST_BENCHMARKS = 3
FAR = np.log(4.0)  # logits below the expected mean: a quarter of the odds
LEAST_SPREAD = 0.25  # of logits around the additive fit: with three benchmarks a third of them is 0 by construction
ROUNDS = 20  # of the median polish; it settles within a few


def artefact_findings(folder: CheckedFolder) -> list[Finding]:
    """A finding per system, naming the benchmarks on which it is at chance."""
    protocols: dict[str, list[Block]] = {}
    for block in folder.blocks:
        if not np.isnan(block.typical_agreement):
            protocols.setdefault(block.protocol, []).append(block)
    tables = {name: _MeanScores(blocks) for name, blocks in protocols.items() if len(blocks) >= FEWEST_BENCHMARKS}
    if not tables:
        return []
    low = discoveries(np.concatenate([lower_tail(table.z).ravel() for table in tables.values()]))
    found: list[Finding] = []
    for table in tables.values():
        own, low = low[: table.z.size].reshape(table.z.shape), low[table.z.size :]
        found += table.findings(folder, own)
    return found


class _MeanScores:
    """Mean scores of one protocol, and the residuals of an additive fit of their logits."""

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks
        mean = np.stack([block.mean for block in blocks], axis=1)
        count = np.stack([block.count for block in blocks], axis=1)
        logit = np.log((mean * count + 0.5) / ((1 - mean) * count + 0.5))
        self.mean, self.residual = mean, _polished(logit)
        expected = sigmoid(logit - self.residual)
        spread = max(1.4826 * float(np.nanmedian(np.abs(self.residual))), LEAST_SPREAD)
        self.expected = expected
        self.z = self.residual / np.sqrt(spread**2 + 1 / (count * expected * (1 - expected)))

    @property
    def at_chance(self) -> Mask:
        """(m, b) whether a system's agreement is below half the usual one, or not above 0."""
        return np.stack(
            [
                (block.agreement < block.typical_agreement / 2)
                | (upper_tail(block.agreement / block.error) > NO_AGREEMENT)
                for block in self.blocks
            ],
            axis=1,
        )

    def findings(self, folder: CheckedFolder, low: Mask) -> list[Finding]:
        """A finding per system with a cell that is low, far below its expectation, and at chance."""
        cells, found = low & (self.residual < -FAR) & self.at_chance, []
        for place in np.flatnonzero(cells.any(axis=1)):
            bad = [self.blocks[j] for j in np.flatnonzero(cells[place])]
            figures = ", ".join(
                f"{self.mean[place, j]:.3f} on {self.blocks[j].benchmark} (expected {self.expected[place, j]:.2f})"
                for j in np.flatnonzero(cells[place])
            )
            rows = np.concatenate([block.rows[block.answered[:, place]] for block in bad])
            found.append(
                Finding(
                    ERROR,
                    "format artefact",
                    f"{folder.system(bad[0].columns[place])} on {', '.join(block.benchmark for block in bad)}",
                    f"scores {figures}, and not on the queries that others find easy",
                    "read some of its answers: does the grader know their format? Grade again, or drop these",
                    len(rows),
                    folder.ids(rows),
                )
            )
        return found


def _polished(logit: Array) -> Array:
    """Residuals of an additive fit by medians (Tukey's median polish), which a few outliers do not move.

    >>> _polished(np.array([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, -9.0]])).round(6).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, -13.0]]
    """
    residual = logit.copy()
    for _ in range(ROUNDS):
        for axis in (1, 0):
            residual -= np.nan_to_num(_median(residual, axis))
    return residual


def _median(values: Array, axis: int) -> Array:
    """Medians along an axis, which is kept; 0 where all values are NaN."""
    known = (~np.isnan(values)).any(axis=axis, keepdims=True)
    return np.asarray(np.nanmedian(np.where(known, values, 0.0), axis=axis, keepdims=True), np.float64)
