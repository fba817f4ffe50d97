"""Labels predicted from the text against the annotated ones, by groups of sets and languages.

`label_rows` makes a table of any router's rows, so that rows of several can be joined; `label_figures` needs the table
alone. "First capability" is the first other than multilingual, "first domain" the annotated name itself.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from router.arrays import host
from router.evaluation.dataset import Dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import first_tasks, labels
from router.network.taxonomy import MULTILINGUAL, OTHER
from router.policy.decision import SHOWN
from router.routing.router import Router
from train.studies.reading.figures import Figure, f1, measured, spearman
from train.studies.reading.texts import read

EVERYDAY = (
    "uncommonroute arena-hard-v2 arena-hard-v0.1 user-oriented wizardlm-test act-as mt-bench vicuna-bench alpaca-eval "
    "flask"
).split()
BY_LANGUAGE = "uncommonroute"  # its categories end in the code of a language
ENGLISH, JAPANESE = "en", "ja"
LEAST_OF_SET, LEAST_SD, LEAST_OF_LANGUAGE = 60, 0.5, 30

# Bars of difficulty, first capability and first domain by group of rows.
BARS: dict[str, tuple[float | None, float | None, float | None]] = {
    "all": (0.78, 0.86, 0.64),
    "everyday": (0.74, 0.83, 0.56),
    "English everyday": (None, 0.84, None),
    "non-English uncommonroute": (0.79, 0.87, 0.48),
}
BAR_OF_SETS, BAR_OF_LANGUAGE, BAR_OF_MULTILINGUAL = 0.42, 0.6, 0.97


def label_rows(router: Router, dataset: Dataset, rows: Sequence[int]) -> pd.DataFrame:
    """A row for each annotated one of `rows` of the folder: where it is from, its labels, whether they were hit.

    `first` is missing where multilingual is the only label.
    """
    notes = labels(dataset)
    kept = [row for row in rows if row in notes]
    found = dataset.queries.iloc[kept]
    frame = found[["benchmark", "category"]].reset_index(drop=True)
    vectors = read(router, found["text"].tolist()).vectors
    capability = host(vectors.capability)
    noted = [notes[row] for row in kept]
    names = router.taxonomy.capabilities
    frame["first"] = [next((c for c in note.capabilities if c != MULTILINGUAL), None) for note in noted]
    frame["capability"] = first_tasks(names, capability)
    frame["multilingual"] = [MULTILINGUAL in note.capabilities for note in noted]
    frame["multilingual_found"] = capability[:, names.index(MULTILINGUAL)] >= SHOWN
    domain = np.array(router.taxonomy.domains)[host(vectors.knowledge).argmax(axis=1)]
    frame["domain"] = [a == note.knowledge[0] != OTHER for a, note in zip(domain, noted, strict=True)]
    frame["difficulty"] = np.array([note.difficulty for note in noted], np.float64)  # None is NaN
    frame["level"] = host(vectors.level)
    return frame


def groups(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each group in BARS."""
    everyday = frame["benchmark"].isin(EVERYDAY)
    tagged = frame["benchmark"] == BY_LANGUAGE
    english = frame["category"].str.split().str[-1] == ENGLISH
    spoken = np.where(tagged, english, ~frame["multilingual"])
    masks = (np.ones(len(frame), bool), everyday, everyday & spoken, tagged & ~english)
    return {name: frame[mask] for name, mask in zip(BARS, masks, strict=True)}


def label_figures(frame: pd.DataFrame, part: str = "labels", bars: bool = True) -> list[Figure]:
    """Figures of all groups, sets and languages; without `bars` none is judged."""
    figures = []
    for name, rows in groups(frame).items():
        difficulty, capability, domain = BARS[name] if bars else (None,) * 3
        rated, named = rows[rows["difficulty"].notna()], rows[rows["first"].notna()]
        hit = named["first"] == named["capability"]
        figures += [
            measured(part, f"difficulty, {name}", spearman, rated["level"], rated["difficulty"], bar=difficulty),
            measured(part, f"first capability, {name}", np.mean, hit, bar=capability),
            measured(part, f"first domain, {name}", np.mean, rows["domain"], bar=domain),
        ]
    seen = frame["multilingual_found"], frame["multilingual"]
    figures.append(measured(part, "multilingual, F1", f1, *seen, bar=BAR_OF_MULTILINGUAL if bars else None))
    return [*figures, difficulty_within_sets(frame, part, bars), *_by_language(frame, part, bars)]


def difficulty_within_sets(frame: pd.DataFrame, part: str, bars: bool) -> Figure:
    """Mean rank correlation over the sets with enough rows and spread of the label; rows are drawn within sets too."""
    rated = frame[frame["difficulty"].notna()]
    by_set = rated.groupby("benchmark", observed=True)["difficulty"]
    kept = rated[(by_set.transform("size") >= LEAST_OF_SET) & (by_set.transform("std") >= LEAST_SD)]
    sets, code = np.unique(kept["benchmark"].astype(str), return_inverse=True)

    def mean(level: Array, label: Array, code: Array) -> float:
        each = [spearman(level[code == one], label[code == one]) for one in range(len(sets)) if (code == one).any()]
        return float(np.nanmean(each)) if np.isfinite(each).any() else np.nan

    name = f"difficulty, mean over sets (n ≥ {LEAST_OF_SET}, sd ≥ {LEAST_SD})"
    columns = kept["level"], kept["difficulty"], code
    bar = BAR_OF_SETS if bars else None
    return measured(part, name, mean, *columns, bar=bar, note=f"{len(sets)} sets: {', '.join(sets)}")


def _by_language(frame: pd.DataFrame, part: str, bars: bool) -> list[Figure]:
    rated = frame[(frame["benchmark"] == BY_LANGUAGE) & frame["difficulty"].notna()]
    return [
        measured(
            part,
            f"difficulty, {language}",
            spearman,
            rows["level"],
            rows["difficulty"],
            bar=BAR_OF_LANGUAGE if bars and language not in (ENGLISH, JAPANESE) else None,
        )
        for language, rows in rated.groupby(rated["category"].str.split().str[-1])
        if len(rows) >= LEAST_OF_LANGUAGE
    ]
