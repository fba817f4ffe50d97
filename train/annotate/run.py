"""Every query of a file read by its annotators, at once and in order, each answer written down as a line.

Knows queries and forms; not where the lines go, nor options.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from router.llm.client import Client, UnansweredError
from router.llm.form import Filled, Form, fill
from router.llm.session import in_order, show
from router.llm.untrusted_text import clipped, with_nonce
from train.annotate.annotators import Annotator
from train.annotate.labels import Labels
from train.annotate.prompt import PROMPT_VERSION, USUAL_TOKENS
from train.annotate.report import Found, Report
from train.data_folders.query_file import QueryRow, read_queries

WINDOW = 4  # queries at work or waiting for an earlier one, for each request that may be under way


@dataclass(frozen=True)
class Task:
    """What is asked of whom."""

    queries: Path
    annotators: Sequence[Annotator]
    form: Form[Labels]
    most_chars: int  # of a query; head and tail are kept of a longer one

    def estimate_usd(self) -> float:
        """USD of the first answers at their usual length."""
        total = 0.0
        for row in read_queries(self.queries):
            input_tokens = self.form.question(with_nonce(self.parts(row), b"")).usual_input_tokens
            total += sum(
                each.endpoint.cost_usd(input_tokens, USUAL_TOKENS) for each in self.annotators if each.reads(row)
            )
        return total

    def parts(self, row: QueryRow) -> dict[str, str]:
        """What annotators read of a query."""
        return {"query": clipped(row.text, self.most_chars)}

    async def found(self, client: Client, row: QueryRow) -> Found:
        """What each annotator of the query says, or why it says nothing."""

        async def one(annotator: Annotator) -> Filled[Labels] | str:
            try:
                return await fill(client, annotator.endpoint, self.form, self.parts(row))
            except UnansweredError as error:
                return str(error)

        reading = [each for each in self.annotators if each.reads(row)]
        results = await asyncio.gather(*map(one, reading))
        return {each.name: result for each, result in zip(reading, results, strict=True)}


async def annotate(client: Client, task: Task, notes: TextIO, failures: TextIO, bar: tqdm) -> Report:
    """Write a line for each annotator's labels of each query to `notes`, in order, or one to `failures`."""
    report = Report([each.name for each in task.annotators])
    models = {each.name: each.endpoint.model for each in task.annotators}
    window = WINDOW * sum(each.endpoint.parallel for each in task.annotators)
    rows = in_order(read_queries(task.queries), lambda row: task.found(client, row), window)
    async with contextlib.aclosing(rows):
        async for row, found in rows:
            report.add(found)
            for name, each in found.items():
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
