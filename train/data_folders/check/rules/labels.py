"""Rule for label coverage: rare capabilities, benchmarks without annotations, unknown names."""

from __future__ import annotations

from collections import Counter

import numpy as np

from router.evaluation.pool_report import LABELLER
from router.network.taxonomy import CAPABILITIES
from train.data_folders.check.finding import NOTE, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder

ENOUGH = 50  # annotated training queries of an axis; with fewer, training does not recover a planted profile on it
FEWEST_QUERIES = 100  # a smaller benchmark needs no annotations


def label_findings(folder: CheckedFolder) -> list[Finding]:
    """Findings about the annotations by the annotator that training reads."""
    notes = [note for note in folder.dataset.annotations if note.annotator == LABELLER]
    if not notes:
        return [
            Finding(
                WARNING,
                "label coverage",
                "annotations.jsonl",
                f"no query is annotated by {LABELLER}, so the axes have no meaning",
                "annotate some hundred queries: python -m train annotate",
                0,
            )
        ]
    return [*_unknown_names(folder), *_rare_capabilities(folder), *_blind_benchmarks(folder)]


def _unknown_names(folder: CheckedFolder) -> list[Finding]:
    names: Counter[str] = Counter()
    rows = []
    for note in folder.dataset.annotations:
        unknown = [name for name in note.capabilities if name not in CAPABILITIES]
        names.update(unknown)
        if unknown:
            rows.append(note.query_id)
    if not rows:
        return []
    shown = ", ".join(f"{name!r} ({n:,})" for name, n in names.most_common(5))
    return [
        Finding(
            WARNING,
            "label coverage",
            "annotations.jsonl",
            f"{len(rows):,} annotations name capabilities that are not in the list and are ignored: {shown}",
            f"allowed: {', '.join(CAPABILITIES)}",
            len(rows),
            tuple(rows),
        )
    ]


def _rare_capabilities(folder: CheckedFolder) -> list[Finding]:
    queries = folder.dataset.queries
    training = set(queries["query_id"][queries["split"] == "train"])
    notes = [n for n in folder.dataset.annotations if n.annotator == LABELLER and n.query_id in training]
    count = Counter(name for note in notes for name in set(note.capabilities))
    rare = [name for name in CAPABILITIES if count[name] < ENOUGH]
    if not rare:
        return []
    shown = ", ".join(f"{name} {count[name]}" for name in rare)
    return [
        Finding(
            NOTE,
            "label coverage",
            "annotations.jsonl",
            f"capabilities with fewer than {ENOUGH} of the {len(notes):,} annotated training queries: {shown}",
            "annotate more queries that need them, or do not trust these axes",
            len(rare),
            tuple(rare),
        )
    ]


def _blind_benchmarks(folder: CheckedFolder) -> list[Finding]:
    queries = folder.dataset.queries
    noted = queries["query_id"].isin({note.query_id for note in folder.dataset.annotations})
    table = noted.groupby(queries["benchmark"], observed=True).agg(["size", "sum"])
    blind = table[(table["sum"] == 0) & (table["size"] >= FEWEST_QUERIES)]
    if blind.empty:
        return []
    rows = np.flatnonzero(queries["benchmark"].isin(blind.index))
    return [
        Finding(
            NOTE,
            "label coverage",
            ", ".join(str(name) for name in blind.index),
            f"none of their {blind['size'].sum():,} queries is annotated",
            "annotate a sample of each: what they need is unknown otherwise",
            len(rows),
            folder.ids(rows),
        )
    ]
