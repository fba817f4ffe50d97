"""Rule for scrambled rows: scores in the wrong order, which do not belong to their queries.

A model's mean does not change, but its right answers no longer correlate with those of the other models. The rule finds
correlations that may be 0 and are clearly below the usual one. Axes: m systems of a protocol.
"""

from __future__ import annotations

import numpy as np

from train.data_folders.check.blocks import FEWEST_QUERIES, FEWEST_SYSTEMS, Block
from train.data_folders.check.finding import ERROR, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.check.significance import NO_AGREEMENT, Array, Mask, discoveries, lower_tail, upper_tail

# Share of the usual agreement that a scrambled system is clearly below. On one benchmark agreement may be low for other
# reasons, such as another prompt; on all benchmarks there are few other reasons.
ON_ALL, ON_ONE = 0.75, 0.5
NOTHING_SHARED = 0.1  # typical agreement below which models do not find the same queries of a benchmark hard
MANY_ANSWERS = 1000  # of a benchmark, so that this is no accident


def scrambled_findings(folder: CheckedFolder) -> list[Finding]:
    """Findings about systems scrambled on all benchmarks or on one, and benchmarks on which all systems disagree."""
    blocks = [block for block in folder.blocks if block.typical_agreement >= NOTHING_SHARED]
    whole = _whole_systems(folder, blocks)
    found = [_scrambled(folder, column, "all it answered", r, usual, n, blocks) for column, r, usual, n in whole]
    known = {column for column, *_ in whole}
    for block, place, r in _cells(blocks):
        column = int(block.columns[place])
        if column not in known:
            n = int(block.count[place])
            found.append(_scrambled(folder, column, block.benchmark, r, block.typical_agreement, n, [block]))
    return found + _nothing_shared(folder)


def _judged(own: Array, least: Array, error: Array) -> Mask:
    """Which correlations may be 0 and are below the least one, given their standard errors."""
    return discoveries(lower_tail((own - least) / error)) & (upper_tail(own / error) > NO_AGREEMENT)


def _whole_systems(folder: CheckedFolder, blocks: list[Block]) -> list[tuple[int, float, float, int]]:
    """Column, agreement, usual agreement and number of answers of systems that are scrambled on all benchmarks."""
    total: dict[int, Array] = {}
    for block in blocks:
        for place, column in enumerate(block.columns.tolist()):
            n, r = int(block.count[place]), block.agreement[place]
            if not np.isnan(r):
                sums = np.array([n, n * r, n * block.typical_agreement, n * block.factor[place] ** 2])
                total[column] = total.get(column, np.zeros(4)) + sums
    if not total:
        return []
    table = np.stack(list(total.values()))
    answers, own, usual = table[:, 0], table[:, 1] / table[:, 0], table[:, 2] / table[:, 0]
    bad = _judged(own, ON_ALL * usual, np.sqrt(table[:, 3]) / answers)
    columns = list(total)
    return [(columns[i], float(own[i]), float(usual[i]), int(answers[i])) for i in np.flatnonzero(bad)]


def _cells(blocks: list[Block]) -> list[tuple[Block, int, float]]:
    """Block, place and agreement of each system that is scrambled on one benchmark."""
    places = [(block, place) for block in blocks for place in range(len(block.columns))]
    own = np.array([block.agreement[place] for block, place in places])
    usual = np.array([block.typical_agreement for block, _ in places])
    error = np.array([block.error[place] for block, place in places])
    varies = np.array([0.05 < block.mean[place] < 0.95 for block, place in places], bool)
    bad = _judged(own, ON_ONE * usual, error) & varies if places else []
    return [(*places[i], float(own[i])) for i in np.flatnonzero(bad)]


def _scrambled(
    folder: CheckedFolder, column: int, on: str, r: float, usual: float, n: int, blocks: list[Block]
) -> Finding:
    placed = [(block, np.flatnonzero(block.columns == column)) for block in blocks]
    rows = np.concatenate([block.rows[block.answered[:, place[0]]] for block, place in placed if len(place)])
    return Finding(
        ERROR,
        "scrambled rows",
        f"{folder.system(column)} on {on}",
        f"its scores agree with the other models' by {r:.2f} over {n:,} answers, where {usual:.2f} is usual",
        "compare the order of rows with the source's: most likely they were joined by position, not by id",
        n,
        folder.ids(rows),
    )


def _nothing_shared(folder: CheckedFolder) -> list[Finding]:
    found = []
    for block in folder.blocks:
        judged = ~np.isnan(block.mean)
        if judged.sum() < FEWEST_SYSTEMS or len(block.rows) < FEWEST_QUERIES or block.count.sum() < MANY_ANSWERS:
            continue
        if block.typical_agreement < NOTHING_SHARED and np.nanstd(block.score) > 0:
            found.append(
                Finding(
                    WARNING,
                    "no common signal",
                    f"{block.benchmark}, under {block.protocol}",
                    f"which of {len(block.rows):,} queries a model gets right has next to nothing to do with which "
                    f"others do: agreement {block.typical_agreement:.2f}",
                    "check rows, grader and texts; a router learns the models' means from it and nothing of queries",
                    len(block.rows),
                    folder.ids(block.rows),
                )
            )
    return found
