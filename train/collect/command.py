"""Command `python -m train collect QUERIES --pool POOL.yaml --out DIR`: graded answers of a pool's models.

Asks every model every query, grades the answers and writes a data folder (docs/data.md) to train, onboard and evaluate
on. Run it again after a kill, an error or the cap: what was answered is not asked again.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from router.cli.text import table, usd
from router.errors import PoolError
from router.evaluation.dataset import DEFAULT_PROTOCOL
from router.grading.grading import KINDS
from router.grading.judge import Judge
from router.llm.client import Client
from router.llm.options import add_llm_options, cache_path, check_cap, check_keys
from router.llm.session import WINDOW, exit_code, in_order, run_session, show
from router.pools.strict_yaml import read_values
from train.collect.folder import CollectedFolder, check_folder, collected_folder, figures_of
from train.collect.plan import USUAL_TOKENS, Plan, make_plan
from train.collect.records import query_record
from train.collect.trials import Missing, Trial, run_query
from train.data_folders.query_file import QueryRow, read_queries, survey


async def collect(client: Client, plan: Plan, folder: CollectedFolder, bar: tqdm) -> None:
    """Run every query and write it to the folder, in file order."""
    judge = None if plan.judge is None else Judge(client, plan.judge)
    endpoints = plan.settings.endpoints.values()
    at_once = WINDOW * sum(endpoint.parallel for endpoint in endpoints)
    window = max(2, at_once // (len(endpoints) * plan.settings.trials))

    async def work(row: QueryRow) -> Sequence[Trial | Missing]:
        return await run_query(client, row, plan.task(row), plan.settings, judge, plan.code)

    rows = in_order(read_queries(plan.queries), work, window)
    async with contextlib.aclosing(rows):
        async for row, results in rows:
            folder.write(query_record(row, plan.benchmark), results)
            show(bar, client)


def plain_pool(path: Path) -> Mapping[str, Any]:
    """The plain values of a pool file that `read_pool` accepts."""
    try:
        raw, _ = read_values(path)
    except ValueError as error:
        raise PoolError(f"{path}: {error}") from error
    return raw if isinstance(raw, dict) else {}


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    kinds = "\n".join(f"  {kind:9} {meaning}" for kind, meaning in KINDS.items())
    parser = argparse.ArgumentParser(
        "python -m train collect",
        description=__doc__.split("\n\n")[1],
        epilog=f"grades, by --grade or a query's own `grade`:\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("queries", type=Path, help="a .jsonl, .csv or .parquet file with what is right beside each query")
    add("--pool", type=Path, required=True, metavar="POOL.yaml", help="whose entries say where they answer (upstream)")
    add("--out", type=Path, required=True, metavar="DIR", help="data folder to write")
    add("--grade", choices=list(KINDS), default="exact", help="of queries that do not say (default: %(default)s)")
    add("--trials", type=int, default=1, metavar="N", help="answers of each model to each query (default: 1)")
    add("--max-tokens", type=int, default=1024, metavar="N", help="of an answer (default: %(default)s)")
    add("--temperature", type=float, metavar="T", help="default: 0, with several trials 0.7")
    add("--judge", type=Path, metavar="POOL.yaml", help="pool file whose first entry judges")
    add("--against", metavar="MODEL", help="entry of the pool with which pairwise compares the others")
    add("--run-code", choices=["isolated", "plain"], help="run programs that models write; plain: with network, files")
    add("--protocol", metavar="NAME", help="how it was prompted and graded (default: the pool's, else `default`)")
    add("--benchmark", default="own", metavar="NAME", help="of queries that do not say (default: %(default)s)")
    add("--annotations", type=Path, metavar="FILE", help="of `annotate`, to copy into the folder")
    add_llm_options(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """The command; RouterError where it cannot be done."""
    plan = make_plan(options)
    held, usual_usd = survey(options.queries), plan.check()
    models = [*plan.settings.endpoints]
    print(
        f"{held.queries:,} queries x {len(models)} models x {plan.settings.trials} trials: about {usd(usual_usd)} if "
        f"answers have {min(USUAL_TOKENS, options.max_tokens)} tokens",
        file=sys.stderr,
    )
    if options.estimate:
        return 0
    check_cap(options, usual_usd)
    check_folder(options.out, options.force)
    check_keys([*plan.settings.endpoints.values(), *([plan.judge] if plan.judge else [])])
    cache, raw = cache_path(options, options.out), plain_pool(options.pool)
    protocol = options.protocol or raw.get("protocol") or DEFAULT_PROTOCOL

    with collected_folder(options.out, raw, protocol, options.annotations) as folder:
        run_session(options, cache, held.queries, lambda client, bar: collect(client, plan, folder, bar))
    if not options.quiet:
        print("\n".join(summary_lines(figures_of(options.out), folder.missing, models)))
    if folder.missing:
        print(
            f"train: {folder.missing.total():,} trials have no grade, see {options.out / 'missing.jsonl'}; run the "
            "same command again to ask those that got no answer",
            file=sys.stderr,
        )
    return 3 if folder.missing else 0


def summary_lines(trials: pd.DataFrame, missing: Counter[str], models: Sequence[str]) -> list[str]:
    """A table of the means over each model's trials; `missing` counts its trials without a grade."""
    rows = []
    for model in models:
        own = trials[trials["model"] == model]
        means = own[["score", "cost_usd", "latency_s"]].mean()
        score, cost, latency = (None if pd.isna(value) else float(value) for value in means)
        shown = "-" if score is None else f"{score:.3f}", usd(cost), "-" if latency is None else f"{latency:.2f} s"
        cut = (own["finish"] == "length").sum()
        rows.append([model, f"{len(own):,}", *shown, f"{cut:,}", f"{missing[model]:,}"])
    return table(
        ["model", "trials", "score", "cost", "latency", "cut short", "missing"], rows, right=(1, 2, 3, 4, 5, 6)
    )


def main(args: list[str] | None = None) -> int:
    """0 when done, 1 on an error of ours, 3 where grades are missing, 130 when interrupted; argparse exits with 2."""
    return exit_code(run, make_parser().parse_args(args))
