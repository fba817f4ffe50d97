"""Measurement of a checkpoint on all its pools, written into its card: `python -m train measure CHECKPOINT`.

The figures are those of `router evaluate`, side by side, dated and in Markdown.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from router.errors import DataError
from router.evaluation.dataset import Dataset
from router.evaluation.pool_report import evaluate_router, first_label_agreement, predict, row_masks
from router.files import atomic_write
from router.routing.router import Router
from train.export.card import figures_table, measured_by
from train.studies.inputs import folds, router_and_data, study_parser

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def measure(router: Router, dataset: Dataset, folds: Sequence[int], pools: Sequence[str]) -> dict[str, Any]:
    """Figures of `router evaluate` for each pool on `folds`, and label agreement over all annotated rows."""
    progress = sys.stderr.isatty()
    figures = {name: evaluate_router(router, dataset, name, folds=folds, progress=progress) for name in pools}
    capability, domain, n = agreement(router, dataset, folds)
    return {
        "folds": list(folds),
        "pools": figures,
        "first_capability": capability,
        "first_domain": domain,
        "annotated": n,
    }


def agreement(router: Router, dataset: Dataset, folds: Sequence[int]) -> tuple[float | None, float | None, int]:
    """First-label agreement (capability, domain) on all annotated queries of `folds`, and their number."""
    noted = {note.query_id for note in dataset.annotations}
    rows = np.flatnonzero(row_masks(dataset, None, folds)[0] & dataset.queries["query_id"].isin(noted).to_numpy())
    if not len(rows):
        raise DataError(f"no annotated query in folds {list(folds)}")
    prediction = predict(router, dataset.queries["text"].to_numpy()[rows].tolist(), router.pool())
    shares = first_label_agreement(dataset, router.taxonomy, rows, prediction.capability, prediction.knowledge)
    return *shares, len(rows)


def section(figures: dict[str, Any], command: str) -> str:
    """The card's measured section: table, agreement, command, date and machine."""
    return f"""{BEGIN}
## Measured on rows it never saw

{figures_table(figures["pools"])}

First capability as the annotator's: {figures["first_capability"]:.3f}; first domain: {figures["first_domain"]:.3f}
({figures["annotated"]} annotated queries). Command: {measured_by(command)}
{END}"""


def insert(text: str, block: str) -> str:
    """`text` with the measured section replaced by `block`, or added before the limits.

    >>> insert("# Card\\n\\n## Limits\\n", "<!-- measured: begin -->x<!-- measured: end -->").splitlines()[2]
    '<!-- measured: begin -->x<!-- measured: end -->'
    """
    if BEGIN in text:
        return re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: block, text, flags=re.DOTALL)
    head, limits, tail = text.partition("## Limits")
    return f"{head}{block}\n\n{limits}{tail}" if limits else f"{text}\n{block}\n"


def main(args: list[str] | None = None) -> int:
    """Print the figures as JSON and write them into the checkpoint's card; 0 when done."""
    description = "Judges a checkpoint on all its pools and writes the table into its card"
    parser = study_parser("measure", f"{description}: `python -m train measure CHECKPOINT`.")
    parser.add_argument("--folds", type=folds, default="8,9", help="folds judged (default %(default)s)")
    parser.add_argument("--pools", nargs="+", help="pool names (default: all of the checkpoint)")
    options = parser.parse_args(args)
    router, dataset = router_and_data(options)
    figures = measure(router, dataset, options.folds, options.pools or list(router.pools))
    card = Path(options.checkpoint) / "README.md"
    command = f"python -m train measure {options.checkpoint} --folds {','.join(map(str, options.folds))}"
    atomic_write(card, insert(card.read_text(encoding="utf-8"), section(figures, command)).encode())
    print(json.dumps(figures, indent=1))
    return 0
