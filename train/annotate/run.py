"""Annotation run: annotators read every query of a file, concurrently; lines are written in file order."""

import asyncio
import contextlib
import hashlib
import json
import string
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from router.errors import UnansweredError, UsageError
from router.llm.client import Client
from router.llm.endpoint import Endpoint, endpoint_of, make_endpoint
from router.llm.form import Filled, Form, fill
from router.llm.session import WINDOW, in_order, show
from router.llm.untrusted_text import clipped, with_nonce
from router.pools.pool import RATE_LIMITS, read_pool
from train.annotate.labels import PROMPT_VERSION, USUAL_TOKENS, Labels
from train.annotate.report import Readings, Report
from train.data_folders.query_file import QueryRow, read_queries


@dataclass(frozen=True)
class Annotator:
    """LLM that annotates. Training reads the labels of `llm-a`; the other annotators measure agreement."""

    name: str
    endpoint: Endpoint
    share: float  # of the queries

    def reads(self, row: QueryRow) -> bool:
        """Whether the query is in its share, which is the same in every run."""
        return int(hashlib.sha256(row.query_id.encode()).hexdigest()[:8], 16) < self.share * 16**8


def annotators_of(options: Namespace) -> list[Annotator]:
    """The annotators that the options name; UsageError or PoolError where they are not usable."""
    if not 0 < options.share <= 1:
        raise UsageError(f"--share is a part of the queries, above 0 and at most 1, got {options.share:g}")
    if options.annotators:
        pool = read_pool(options.annotators, None)
        endpoints = [endpoint_of(candidate, options.key_env) for candidate in pool.candidates]
    else:
        endpoints = _from_options(options)
    if len(endpoints) > len(string.ascii_lowercase):
        raise UsageError(f"at most {len(string.ascii_lowercase)} annotators, got {len(endpoints)}")
    shares = [1.0] + [options.share] * (len(endpoints) - 1)
    letters = string.ascii_lowercase[: len(endpoints)]
    return [Annotator(f"llm-{letter}", *each) for letter, *each in zip(letters, endpoints, shares, strict=True)]


def _from_options(options: Namespace) -> list[Endpoint]:
    if not options.model or not options.base_url:
        raise UsageError("name who annotates: --model ID --base-url URL, or --annotators POOL.yaml")
    limits = {name: value for name in RATE_LIMITS if (value := getattr(options, name)) is not None}
    prices = [_each(options, name) for name in ("price_in", "price_out")]
    return [
        make_endpoint(options.base_url, model, price, key_env=options.key_env, timeout_s=options.timeout, limits=limits)
        for model, price in zip(options.model, zip(*prices, strict=True), strict=True)
    ]


def _each(options: Namespace, name: str) -> list[float]:
    """A price for each model: as many as there are, or one for all."""
    flag, given, models = f"--{name.replace('_', '-')}", getattr(options, name) or [], options.model
    if len(given) == 1:
        return given * len(models)
    if len(given) != len(models):
        raise UsageError(
            f"{flag} is USD per million tokens, once for all or once for each --model: got {len(given)} for "
            f"{len(models)} models. Write 0 for an endpoint of your own"
        )
    return list(given)


@dataclass(frozen=True)
class Plan:
    """Queries, annotators and form of a run."""

    queries: Path
    annotators: Sequence[Annotator]
    form: Form[Labels]
    most_chars: int  # of a query; a longer one is sent as its head and tail

    def estimate_usd(self) -> float:
        """Estimated USD, if every first answer is accepted and has its usual length."""
        total = 0.0
        for row in read_queries(self.queries):
            input_tokens = self.form.question(with_nonce(self.parts(row), b"")).usual_input_tokens
            total += sum(
                each.endpoint.cost_usd(input_tokens, USUAL_TOKENS) for each in self.annotators if each.reads(row)
            )
        return total

    def parts(self, row: QueryRow) -> dict[str, str]:
        """The text that annotators read."""
        return {"query": clipped(row.text, self.most_chars)}

    async def readings(self, client: Client, row: QueryRow) -> Readings:
        """The labels by each annotator of the query, or why there are none."""

        async def one(annotator: Annotator) -> Filled[Labels] | str:
            try:
                return await fill(client, annotator.endpoint, self.form, self.parts(row))
            except UnansweredError as error:
                return str(error)

        readers = [each for each in self.annotators if each.reads(row)]
        results = await asyncio.gather(*map(one, readers))
        return {each.name: result for each, result in zip(readers, results, strict=True)}


async def annotate(client: Client, plan: Plan, notes: TextIO, failures: TextIO, bar: tqdm) -> Report:
    """Write a line for each annotator's labels of each query to `notes`, in order, or one to `failures`."""
    report = Report([each.name for each in plan.annotators])
    models = {each.name: each.endpoint.model for each in plan.annotators}
    window = WINDOW * sum(each.endpoint.parallel for each in plan.annotators)
    rows = in_order(read_queries(plan.queries), lambda row: plan.readings(client, row), window)
    async with contextlib.aclosing(rows):
        async for row, readings in rows:
            report.add(readings)
            for name, each in readings.items():
                about = {"annotator": name, "model": models[name], "prompt_version": PROMPT_VERSION}
                if isinstance(each, Filled):
                    _write(notes, {"query_id": row.query_id, **asdict(each.value), **about})
                else:
                    _write(failures, {"query_id": row.query_id, "problem": each, **about})
            show(bar, client)
    return report


def _write(lines: TextIO, record: dict[str, object]) -> None:
    lines.write(json.dumps(record, ensure_ascii=False) + "\n")
