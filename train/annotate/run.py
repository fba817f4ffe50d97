"""Annotation run: every query of a file is read by its annotators, concurrently; lines are written in file order."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from router.errors import UnansweredError
from router.llm.client import Client
from router.llm.form import Filled, Form, fill
from router.llm.session import WINDOW, in_order, show
from router.llm.untrusted_text import clipped, with_nonce
from train.annotate.annotators import Annotator
from train.annotate.labels import Labels
from train.annotate.prompt import PROMPT_VERSION, USUAL_TOKENS
from train.annotate.report import Readings, Report
from train.data_folders.query_file import QueryRow, read_queries


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
                    labels = {"capabilities": each.value.capabilities, "knowledge": each.value.knowledge}
                    _write(notes, {"query_id": row.query_id, **labels, **about})
                else:
                    _write(failures, {"query_id": row.query_id, "problem": each, **about})
            show(bar, client)
    return report


def _write(lines: TextIO, record: dict[str, object]) -> None:
    lines.write(json.dumps(record, ensure_ascii=False) + "\n")
