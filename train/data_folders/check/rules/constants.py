"""Rule for constant outcomes: models that never answer, constant scores of a model, benchmarks with equal scores.

Axes: n queries and m systems of a block.
"""

from __future__ import annotations

import numpy as np

from train.data_folders.check.blocks import FEWEST_QUERIES, FEWEST_SYSTEMS, Block
from train.data_folders.check.finding import ERROR, NOTE, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder

CHANCE = 1e-6  # probability below which equal scores are no accident; a folder has some thousand cells
EASIER = 4.0  # factor by which a model's odds may differ from the others'
CONSTANT_SHARE = 0.9  # share of a benchmark's queries on which all models score the same
EXTREMES = (0.05, 0.95)  # outside these mean scores, equal scores are expected


def constant_findings(folder: CheckedFolder) -> list[Finding]:
    """Findings about systems with constant scores, models without answers, and benchmarks with equal scores."""
    return [
        *_never_answers(folder),
        *_constant_cells(folder),
        *_constant_benchmarks(folder),
        *_without_outcomes(folder),
    ]


def _never_answers(folder: CheckedFolder) -> list[Finding]:
    """Systems whose answers are all wrong where others' are not, or mostly empty."""
    dataset, found = folder.dataset, []
    wrong = _always(folder.blocks, 0.0)
    for column, system in enumerate(dataset.systems):
        score, tokens = dataset.score[:, column], dataset.output_tokens[:, column]
        answered = ~np.isnan(score)
        silent = wrong.get(column, 0.0) and not (score[answered] > 0).any()
        empty = dataset.measured[:, column] & (tokens == 0)
        if answered.sum() >= FEWEST_QUERIES and (silent or empty.sum() > answered.sum() / 2):
            why = "every score is 0" if silent else f"{empty.sum():,} of {answered.sum():,} answers are empty"
            found.append(
                Finding(
                    ERROR,
                    "never answers",
                    system.id,
                    f"{why}, over {answered.sum():,} queries that other models answer",
                    "run it again or leave it out: a router learns that it is bad, not that it was down",
                    int(answered.sum()),
                    folder.ids(np.flatnonzero(empty if not silent else answered)),
                )
            )
    return found


def _always(blocks: list[Block], value: float) -> dict[int, float]:
    """Log probability, by column, of scoring `value` on whole blocks for a system that is similar to the others."""
    found: dict[int, float] = {}
    for block in blocks:
        if len(block.columns) < 2:
            continue  # no other system to compare with
        for place, column in enumerate(block.columns.tolist()):
            answered = block.answered[:, place]
            if answered.sum() and (block.score[answered, place] == value).all():
                rest = np.clip(np.nan_to_num(block.rest[answered, place], nan=value), 0.01, 0.99)
                odds = rest / (1 - rest)
                likely = 1 / (1 + odds / EASIER) if value == 0 else odds * EASIER / (1 + odds * EASIER)
                found[column] = found.get(column, 0.0) + float(np.log(likely).sum())
    return {column: log for column, log in found.items() if log < np.log(CHANCE)}


def _constant_cells(folder: CheckedFolder) -> list[Finding]:
    """Systems with a constant score on one benchmark, but not on all."""
    found = []
    for block in folder.blocks:
        chance = {value: _always([block], value) for value in (0.0, 1.0)}
        for place, column in enumerate(block.columns.tolist()):
            own = block.score[block.answered[:, place], place]
            if len(own) < FEWEST_QUERIES or own.min() < own.max():
                continue
            value, everywhere = float(own[0]), folder.dataset.score[:, column]
            if value in chance and (column not in chance[value] or not (everywhere > 0).any()):
                continue  # expected, or a system that never answers
            found.append(
                Finding(
                    WARNING,
                    "constant outcomes",
                    f"{folder.system(column)} on {block.benchmark}",
                    f"all {len(own):,} scores are {value:g}; others have {np.nanmean(block.rest[:, place]):.2f}",
                    "look at some answers: a grader that never sees them, a default written for missing grades?",
                    len(own),
                    folder.ids(block.rows[block.answered[:, place]]),
                )
            )
    return found


def _constant_benchmarks(folder: CheckedFolder) -> list[Finding]:
    found = []
    for block in folder.blocks:
        if len(block.columns) < FEWEST_SYSTEMS or len(block.rows) < FEWEST_QUERIES:
            continue
        several = block.answered.sum(axis=1) >= FEWEST_SYSTEMS
        spread = np.nanmax(block.score[several], axis=1) - np.nanmin(block.score[several], axis=1)
        share, mean = float((spread < 1e-6).mean()) if len(spread) else 0.0, float(np.nanmean(block.score))
        if share >= CONSTANT_SHARE and EXTREMES[0] < mean < EXTREMES[1]:
            found.append(
                Finding(
                    WARNING,
                    "constant outcomes",
                    f"{block.benchmark}, under {block.protocol}",
                    f"on {share:.0%} of its queries all models score the same, though the mean is {mean:.2f}",
                    "check that the grader reads each model's own answer; such queries teach nothing about choices",
                    int((spread < 1e-6).sum()),
                    folder.ids(block.rows[several][spread < 1e-6]),
                )
            )
    return found


def _without_outcomes(folder: CheckedFolder) -> list[Finding]:
    seen = {system.model for system in folder.dataset.systems}
    missing = tuple(sorted(set(folder.models["model"].astype(str)) - seen))
    if not missing:
        return []
    return [
        Finding(
            NOTE,
            "never answers",
            "models.csv",
            f"{len(missing):,} models have prices but no outcome",
            "collect answers of them or take them out; they cannot be trained on",
            len(missing),
            missing,
        )
    ]
