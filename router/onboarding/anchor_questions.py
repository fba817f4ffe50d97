"""Anchor questions: queries with right answers that are graded by comparison, without a judge and without running code.

    {"query": "What is 2+2?", "grade": "number", "answer": "4"}

The shipped ones are puzzles made by scripts/anchor_questions.py. The fields are those of `router.grading`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.errors import UsageError
from router.grading.grading import Task, read_task
from router.onboarding.json_lines import query_text, read_json_lines

SHIPPED = Path(__file__).with_name("anchor_questions.jsonl")
EXAMPLE = '{"query": "What is 2+2?", "grade": "number", "answer": "4"}'
# Kinds of grading, and the form of an answer that a model is asked for.
FORMS = {
    "number": "End with a line `Answer: ` and the number alone.",
    "choice": "End with a line `Answer: ` and the letter alone.",
    "exact": "End with a line `Answer: ` and the answer alone, in the form that is asked for.",
    "regex": "End with a line `Answer: ` and the answer alone.",
}


@dataclass(frozen=True)
class AnchorQuestion:
    """A query and how its answers are graded."""

    query: str
    task: Task

    @property
    def prompt(self) -> str:
        """The query with the form of its answer, as it is sent."""
        return f"{self.query}\n\n{FORMS[self.task.kind]}"


def read_questions(path: str | Path | None = None) -> tuple[AnchorQuestion, ...]:
    """The questions in a JSONL file, by default the shipped ones. DataError that lists what is wrong in it."""
    found = read_json_lines(path or SHIPPED, "question", EXAMPLE, _question)
    seen: set[str] = set()
    for number, each in enumerate(found, 1):
        if each.query in seen:
            raise UsageError(f"{path}: question {number} stands there twice: keep one, {each.query[:60]!r}")
        seen.add(each.query)
    return tuple(found)


def _question(fields: Mapping[str, Any]) -> AnchorQuestion:
    kind = fields.get("grade", "exact")
    if kind not in FORMS:
        raise ValueError(f"grade must be one of {', '.join(FORMS)}, which need no judge and run no code, got {kind!r}")
    return AnchorQuestion(query_text(fields), read_task(fields, "exact"))
