"""The robustness suite of a checkpoint: `python -m train robustness CHECKPOINT --folds 8,9`.

For each pool: choices flipped by harmless rewordings, ordinary queries that the guard wrongly flags, and the effect of
the best suffixes found with the guard off and on. Prints one JSON object.
"""

import argparse
import json
import sys
import time
from typing import Any

from router.errors import UsageError
from router.evaluation.dataset import Dataset
from router.routing.router import Router
from train.studies.inputs import folds, router_and_data, study_parser
from train.studies.robustness.flips import draw_sample, flip_figures
from train.studies.robustness.gadgets import AIMS, Search, gadget_figures, wrongly_flagged


def suite(
    router: Router, dataset: Dataset, pool_name: str, options: argparse.Namespace, progress: bool = False
) -> dict[str, Any]:
    """All figures of one pool; `seconds` holds the time of each part."""
    pool, search = router.pool(pool_name), options.search
    sample = draw_sample(dataset, pool, options.folds, options.queries, options.seed)
    clock = time.monotonic
    start = clock()
    flips = flip_figures(router, pool, sample, options.dial, options.seed, progress)
    flipped, dial = clock(), flips["dial"]
    guard = {"n": len(sample.texts), "wrongly_flagged": wrongly_flagged(router, pool, sample.texts, dial)}
    guarded = clock()
    gadgets = {
        aim: gadget_figures(router, pool, sample.head(options.attacked), dial, aim, search, options.adaptive, progress)
        for aim in (options.aims if search else ())
    }
    seconds = {"flips": flipped - start, "guard": guarded - flipped, "gadgets": clock() - guarded}
    return {"flips": flips, "guard": guard, "gadgets": gadgets, "seconds": seconds}


def parser() -> argparse.ArgumentParser:
    """Parser of the command's arguments."""
    made = study_parser("robustness", __doc__.splitlines()[0])
    made.add_argument("--folds", type=folds, default="8,9", help="folds judged (default %(default)s)")
    made.add_argument("--pools", nargs="+", help="pool names (default: all of the checkpoint)")
    made.add_argument("--queries", type=int, default=1000, help="queries per pool at most (default %(default)s)")
    made.add_argument("--dial", type=float, help="default: the nearest to 3 at which the models share the calls")
    made.add_argument("--seed", type=int, default=0, help="of the queries drawn, the rewordings and the search")
    gadget = made.add_argument_group("the search for gadgets")
    gadget.add_argument("--steps", type=int, default=500, help="per gadget; 0: no search (default %(default)s)")
    gadget.add_argument("--tokens", type=int, default=20, help="of the gadget, at most 20 (default %(default)s)")
    gadget.add_argument("--batch", type=int, default=8, help="queries per step (default %(default)s)")
    gadget.add_argument("--proposals", type=int, default=8, help="texts tried per step at most (default %(default)s)")
    gadget.add_argument(
        "--attacked", type=int, default=100, help="queries the gadget is tried on (default %(default)s)"
    )
    gadget.add_argument(
        "--aims",
        nargs="+",
        choices=AIMS,
        default=AIMS,
        help="what a gadget raises: the lead of the most expensive model, the cost of the choice (default: one each)",
    )
    gadget.add_argument("--adaptive", action="store_true", help="the attacker knows the guard and searches against it")
    return made


def main(args: list[str] | None = None) -> int:
    """Print the figures of each pool as JSON; 0 when done."""
    options = parser().parse_args(args)
    if options.queries < 1 or options.attacked < 1:
        raise UsageError(f"--queries and --attacked must be at least 1, got {options.queries} and {options.attacked}")
    options.search = (
        Search(options.steps, options.tokens, options.batch, options.proposals, options.seed) if options.steps else None
    )
    router, dataset = router_and_data(options)
    progress = sys.stderr.isatty()
    pools = {name: suite(router, dataset, name, options, progress) for name in options.pools or router.pools}
    print(
        json.dumps(
            {"checkpoint": options.checkpoint, "folds": options.folds, "seed": options.seed, "pools": pools}, indent=1
        )
    )
    return 0
