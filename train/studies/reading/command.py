"""What a checkpoint reads in texts: `python -m train reading CHECKPOINT --folds 8,9`.

Labels against the annotated ones, choices on texts that ask the same (reworded, wrapped, translated, with a tail,
within long material), everyday prompts, and familiarity. Prints a Markdown table, the worst pool of each figure, with
bootstrap intervals and bars; `--output` writes all figures as JSON.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from router.errors import UsageError, known_names
from router.evaluation.dataset import Dataset
from router.evaluation.pool_report import row_masks
from router.files import atomic_write
from router.options import DIAL_MAX
from router.pools.pool import Pool
from router.routing.router import Router
from train.studies.inputs import folds, router_and_data, study_parser
from train.studies.reading.everyday import everyday_figures
from train.studies.reading.familiarity import familiarity_figures, split
from train.studies.reading.figures import Figure, markdown
from train.studies.reading.invariance import invariance
from train.studies.reading.labels import label_figures, label_rows
from train.studies.reading.long_inputs import long_figures
from train.studies.reading.tails import tail_figures
from train.studies.reading.translations import translation_figures

COMPARED = (3.0, 5.0)  # dials for tails and translations
SHARED = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0)  # dials at which everyday prompts share the calls
LONG = 100  # inputs


def dials(text: str) -> list[float]:
    """Whole dials from text such as `1-8` or `3`, as an argparse type; each below the last dial.

    >>> dials("1-3")
    [1.0, 2.0, 3.0]
    """
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit() and int(first) <= int(last or first) < DIAL_MAX):
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed are two whole numbers from 0 to 9, as in 1-8")
    return [float(dial) for dial in range(int(first), int(last or first) + 1)]


def study_labels(router: Router, dataset: Dataset, options: argparse.Namespace, pools: list[Pool]) -> list[Figure]:
    """Figures of labels: rows of the folds, those of rotated checkpoints too, and apart from them the left-out sets."""
    benchmark, sources = dataset.queries["benchmark"], [(router, options.folds)]
    sources += [(Router.from_pretrained(path, backend="torch"), folds(text)) for path, text in options.rotate]
    rows = [(made, split(benchmark, row_masks(dataset, None, on)[0], options.left_out)) for made, on in sources]
    figures = label_figures(pd.concat([label_rows(made, dataset, seen.tolist()) for made, (seen, _) in rows]))
    if options.left_out:
        figures += label_figures(label_rows(router, dataset, rows[0][1][1].tolist()), "labels, left out", bars=False)
    return figures


def study_invariance(router: Router, dataset: Dataset, options: argparse.Namespace, pools: list[Pool]) -> list[Figure]:
    """Figures of rewordings and wrappers."""
    return invariance(router, dataset, pools, options.folds, options.dials, options.queries, options.seed)


def study_familiarity(router: Router, dataset: Dataset, options: argparse.Namespace, pools: list[Pool]) -> list[Figure]:
    """Figures of familiarity; a note where no set was left out."""
    if not options.left_out:
        return [Figure("familiarity", "AUROC of seen", np.nan, note="no set was left out: name them by --left-out")]
    seen, left_out = split(dataset.queries["benchmark"], row_masks(dataset, None, options.folds)[0], options.left_out)
    return familiarity_figures(router, dataset, seen, left_out, pools)


PARTS: dict[str, Callable[[Router, Dataset, argparse.Namespace, list[Pool]], list[Figure]]] = {
    "labels": study_labels,
    "invariance": study_invariance,
    "tails": lambda router, dataset, options, pools: tail_figures(router, pools, COMPARED),
    "translations": lambda router, dataset, options, pools: translation_figures(router, pools, COMPARED),
    "long": lambda router, dataset, options, pools: long_figures(router, LONG, options.seed),
    "everyday": lambda router, dataset, options, pools: everyday_figures(router, pools, SHARED),
    "familiarity": study_familiarity,
}


def parser() -> argparse.ArgumentParser:
    """Parser of the command's arguments."""
    made = study_parser("reading", __doc__.splitlines()[0])
    made.add_argument("--folds", type=folds, default="8,9", help="folds judged (default %(default)s)")
    made.add_argument("--pools", nargs="+", help="pool names (default: all of the checkpoint)")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what is measured (default: all)")
    made.add_argument("--dials", type=dials, default="1-8", help="of invariance (default %(default)s)")
    made.add_argument("--queries", type=int, default=300, help="of invariance, per pool at most (default %(default)s)")
    made.add_argument("--left-out", default="", help="sets that training left out, separated by commas: judged apart")
    made.add_argument(
        "--rotate",
        nargs=2,
        action="append",
        default=[],
        metavar=("CHECKPOINT", "FOLDS"),
        help="labels: a checkpoint of another rotation and the folds it is judged on, pooled with the first",
    )
    made.add_argument("--seed", type=int, default=0, help="of the queries drawn, the rewordings and the material")
    made.add_argument("--output", type=Path, help="file for all figures as JSON")
    return made


def main(args: list[str] | None = None) -> int:
    """Print the table and write the report; 0 when done."""
    options = parser().parse_args(args)
    if options.queries < 1:
        raise UsageError(f"--queries must be at least 1, got {options.queries}")
    router, dataset = router_and_data(options)
    known = dataset.queries["benchmark"].unique().tolist()
    options.left_out = [name for name in options.left_out.split(",") if name]
    for name in options.left_out:
        if name not in known:
            raise UsageError(f"--left-out: the data has no set {name!r}; {known_names(name, known)}")
    pools = [router.pool(name) for name in options.pools or router.pools]
    figures: list[Figure] = []
    for part in options.parts:
        print(f"measuring {part} ...", file=sys.stderr)
        figures += PARTS[part](router, dataset, options, pools)
    print(markdown(figures))
    if options.output:
        about = {"checkpoint": options.checkpoint, "folds": options.folds, "seed": options.seed}
        report = about | {"figures": [figure.to_json() for figure in figures]}
        atomic_write(options.output, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    return 0
