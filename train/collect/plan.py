"""Collection plan: queries, models and grading, checked as a whole before anything is sent."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from router.errors import DataError, UsageError, known_names
from router.grading import judge
from router.grading.grading import Task, read_task
from router.llm.endpoint import Endpoint, endpoint_of
from router.options import CHARS_PER_TOKEN
from router.pools.pool import read_pool
from train.collect.code_tests import CodeRunner
from train.collect.records import query_record
from train.collect.trials import Settings
from train.data_folders.query_file import QueryRow, problem_list, read_queries

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
                each += verdicts * self.judge.cost_usd(input_tokens + 2 * usual, judge.USUAL_TOKENS)
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
