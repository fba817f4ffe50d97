"""Rule for label coverage: rare capabilities, benchmarks without annotations, unknown names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import numpy as np

from router.evaluation.pool_report import LABELLER
from router.network.taxonomy import CAPABILITIES
from train.data_folders.check.finding import NOTE, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder

ENOUGH = 50  # annotated training queries of an axis; with fewer, training does not recover a planted profile on it
FEWEST_QUERIES = 100  # a smaller benchmark needs no annotations


def label_findings(folder: CheckedFolder) -> Iterator[Finding]:
    """Findings about the annotations by the annotator that training reads."""
    queries, notes = folder.dataset.queries, folder.dataset.annotations
    note, warning = (partial(Finding, level, "label coverage") for level in (NOTE, WARNING))
    if not any(each.annotator == LABELLER for each in notes):
        yield warning(
            "annotations.jsonl",
            f"no query is annotated by {LABELLER}, so the axes have no meaning",
            "annotate some hundred queries: python -m train annotate",
        )
        return
    unknown = [(each.query_id, name) for each in notes for name in each.capabilities if name not in CAPABILITIES]
    if unknown:
        rows = tuple(each.query_id for each in notes if not set(each.capabilities) <= set(CAPABILITIES))
        shown = ", ".join(f"{name!r} ({n:,})" for name, n in Counter(name for _, name in unknown).most_common(5))
        yield warning(
            "annotations.jsonl",
            f"{len(rows):,} annotations name capabilities that are not in the list and are ignored: {shown}",
            f"allowed: {', '.join(CAPABILITIES)}",
            rows=rows,
        )
    training = set(queries["query_id"][queries["split"] == "train"])
    trained = [each for each in notes if each.annotator == LABELLER and each.query_id in training]
    count = Counter(name for each in trained for name in set(each.capabilities))
    rare = tuple(name for name in CAPABILITIES if count[name] < ENOUGH)
    if rare:
        yield note(
            "annotations.jsonl",
            f"capabilities with fewer than {ENOUGH} of the {len(trained):,} annotated training queries: "
            f"{', '.join(f'{name} {count[name]}' for name in rare)}",
            "annotate more queries that need them, or do not trust these axes",
            rows=rare,
        )
    noted = queries["query_id"].isin({each.query_id for each in notes})
    benchmarks = noted.groupby(queries["benchmark"], observed=True).agg(["size", "any"])
    blind = benchmarks.index[~benchmarks["any"] & (benchmarks["size"] >= FEWEST_QUERIES)]
    rows = folder.ids(np.flatnonzero(queries["benchmark"].isin(blind)))
    if rows:
        yield note(
            ", ".join(blind),
            f"none of their {len(rows):,} queries is annotated",
            "annotate a sample of each: what they need is unknown otherwise",
            rows=rows,
        )
