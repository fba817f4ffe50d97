"""Command `python -m train collect QUERIES --pool POOL.yaml --out DIR`: graded answers of a pool's models.

Asks every model every query, grades the answers and writes a data folder (docs/data.md) to train, onboard and evaluate
on. Run it again after a kill, an error or the cap: what was answered is not asked again.
"""

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from router.cli.text import table, usd
from router.errors import DataError, PoolError, UsageError, known_names
from router.evaluation.folder_tables import DEFAULT_PROTOCOL
from router.grading.grading import KINDS, Task, read_task
from router.grading.judge import USUAL_TOKENS as VERDICT_TOKENS
from router.grading.judge import Judge
from router.llm.client import Client
from router.llm.endpoint import Endpoint, endpoint_of
from router.llm.options import add_llm_options, cache_path, check_cap, check_keys
from router.llm.session import WINDOW, exit_code, in_order, run_session, show
from router.options import CHARS_PER_TOKEN
from router.pools.pool import read_pool
from router.pools.strict_yaml import read_values
from train.collect.code_tests import CodeRunner
from train.collect.folder import CollectedFolder, check_folder, collected_folder, figures_of, query_record
from train.collect.trials import Missing, Settings, Trial, run_query
from train.data_folders.query_file import QueryRow, problem_list, read_queries, survey

USUAL_TOKENS = 300  # of an answer, as an estimate before the first one


@dataclass(frozen=True)
class Plan:
    """Queries, models and grading of a collection."""

    queries: Path
    settings: Settings
    default_kind: str
    benchmark: str
    judge: Endpoint | None
    code: CodeRunner | None

    def task(self, row: QueryRow) -> Task:
        """The grading task of a query; ValueError for what its row lacks or the options do not allow."""
        task = read_task(row.fields, self.default_kind, self.settings.against)
        if task.kind == "code" and self.code is None:
            raise ValueError("it is graded by running code: give --run-code isolated")
        if task.kind in ("judge", "pairwise") and self.judge is None:
            raise ValueError(f"its grade is {task.kind}: give --judge POOL.yaml, whose first entry judges")
        return task

    def check(self) -> float:
        """Estimated USD at the usual length of answers; DataError that lists rows which cannot be graded."""
        problems: list[str] = []
        total, models = 0.0, [*self.settings.endpoints.values()]
        usual = min(USUAL_TOKENS, self.settings.most_tokens)
        for number, row in enumerate(read_queries(self.queries), 1):
            try:
                task = self.task(row)
                query_record(row, self.benchmark)
            except ValueError as error:
                problems.append(f"query {number} ({row.query_id}): {error}")
                continue
            input_tokens = len(row.text) / CHARS_PER_TOKEN
            each = sum(model.cost_usd(input_tokens, usual) for model in models)
            if self.judge is not None and task.kind in ("judge", "pairwise"):
                verdicts = len(models) * (2 if task.kind == "pairwise" else 1)
                each += verdicts * self.judge.cost_usd(input_tokens + 2 * usual, VERDICT_TOKENS)
            total += self.settings.trials * each
        if problems:
            raise DataError(
                f"{self.queries}: nothing was asked, since some answers could not be graded:{problem_list(problems)}"
            )
        return total


def make_plan(options: argparse.Namespace) -> Plan:
    """The plan in the options; RouterError where something is wrong."""
    if options.trials < 1 or options.max_tokens < 1:
        raise UsageError(f"--trials and --max-tokens are at least 1, got {options.trials} and {options.max_tokens}")
    temperature = options.temperature if options.temperature is not None else (0.7 if options.trials > 1 else 0.0)
    if not 0 <= temperature <= 2:
        raise UsageError(f"--temperature lies from 0 to 2, got {temperature:g}")
    if options.annotations is not None and not options.annotations.is_file():
        raise UsageError(f"--annotations {options.annotations}: no such file")
    endpoints = {each.id: endpoint_of(each) for each in read_pool(options.pool, None).candidates}
    if options.against is not None and options.against not in endpoints:
        raise UsageError(f"--against {options.against} is not in the pool; {known_names(options.against, endpoints)}")
    judging = None if options.judge is None else endpoint_of(read_pool(options.judge, None).candidates[0])
    settings = Settings(endpoints, options.trials, options.max_tokens, temperature, options.against)
    code = None if options.run_code is None else CodeRunner(options.run_code == "isolated")
    return Plan(options.queries, settings, options.grade, options.benchmark, judging, code)


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
