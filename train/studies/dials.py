"""Dial tables measured on validation folds, for budgets: `python -m train dials CHECKPOINT` writes `dials.json`.

`fit` measures them at export; this is for an older checkpoint, or one whose prices were edited since.
"""

from collections.abc import Sequence
from pathlib import Path

from router.checkpoint.layout import LAYOUT
from router.evaluation.dataset import Dataset
from router.files import atomic_write
from router.policy.goals import DialTable, measure_dials, tables_to_json
from router.routing.router import Router
from train.studies.inputs import folds, held_out, router_and_data, study_parser


def dial_tables(
    router: Router, dataset: Dataset, val_folds: Sequence[int], pools: Sequence[str], cache: Path
) -> dict[str, DialTable]:
    """The router's tables, with those of `pools` measured anew on `val_folds`."""
    tables = dict(router.checkpoint.dial_tables)
    for name in pools:
        pool = router.pool(name)
        held = held_out(router, dataset, pool, val_folds, cache)
        span = router.candidates(pool).cost_range_usd
        tables[pool.name] = measure_dials(held.quality, held.cost, held.score, pool, span)
    return tables


def write_tables(tables: dict[str, DialTable], folder: Path) -> None:
    """Replace the checkpoint's `dials.json` atomically."""
    atomic_write(folder / LAYOUT.dials, tables_to_json(tables).encode())


def main(args: list[str] | None = None) -> int:
    """Write the tables and print both ends of each; 0 when done."""
    parser = study_parser(
        "dials", "Measures what each dial costs and gives, for budgets: `python -m train dials CHECKPOINT`."
    )
    parser.add_argument("--val-folds", type=folds, default="7", help="folds measured on (default %(default)s)")
    parser.add_argument("--pools", nargs="+", help="pool names (default: all of the checkpoint)")
    parser.add_argument("--cache", type=Path, default="runs/cache", help="folder of cached embeddings")
    options = parser.parse_args(args)
    router, dataset = router_and_data(options)
    tables = dial_tables(router, dataset, options.val_folds, options.pools or list(router.pools), options.cache)
    write_tables(tables, Path(options.checkpoint))
    for name, table in tables.items():
        ends = [f"${table.cost_usd_per_1k[i]:.3g} and quality {table.quality[i]:.3f}" for i in (0, -1)]
        print(f"{name}: {table.queries} queries; from {ends[0]} at dial 0 to {ends[1]} at dial 10")
    return 0
