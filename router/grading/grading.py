"""Grading of answers by comparison with the reference in a query's row: exact, choice, number, regex.

It reads the tasks of all kinds; code is graded in `train.collect.code_tests`, judged kinds in `judge`. Pure, except for
the time limit of a pattern.
"""

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.errors import GradingError
from router.grading.final_answer import chosen_letter, final_answer, final_number, normalised, without_thoughts

KINDS = {
    "exact": "the answer, or what it ends with, is one of `answer` (text or a list of texts)",
    "choice": "the letter it settles on is `answer`",
    "number": "the number that it states as its answer is `answer`, but for `tolerance` (relative, default 1e-4)",
    "regex": "the pattern `answer` is found in it",
    "code": "the program in it passes `tests` (Python, in another process); needs --run-code",
    "judge": "an LLM gives points, by `rubric` and `answer` where there are any; needs --judge",
    "pairwise": "an LLM prefers it to `answer`, or to --against MODEL's answer; needs --judge",
}
PATTERN_S = 1.0  # time limit of a pattern
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Task:
    """Grading task of one query: the kind, and what its answers are compared with."""

    kind: str
    right: tuple[str, ...] = ()  # answers, a letter, a pattern, or a reference for the judge
    number: float = math.nan
    tolerance: float = TOLERANCE
    tests: str = ""
    rubric: str = ""


def read_task(fields: Mapping[str, Any], default_kind: str, against: str | None = None) -> Task:
    """The task in the fields of a query's row; ValueError names what is missing or wrong."""
    kind = fields.get("grade", default_kind)
    if kind not in KINDS:
        raise ValueError(f"grade must be one of {', '.join(KINDS)}, got {kind!r}")
    right = fields.get("answer")
    if kind == "code":
        return Task(kind, tests=checked_tests(_text("tests", fields.get("tests"))))
    if kind in ("judge", "pairwise"):
        if kind == "pairwise" and right is None and against is None:
            raise ValueError("pairwise needs `answer` to compare with, or --against MODEL")
        shown = right is not None and (kind == "judge" or against is None)
        return Task(kind, (_text("answer", right),) if shown else (), rubric=str(fields.get("rubric", "")))
    if right is None:
        raise ValueError(f"`answer` is missing, which {kind} compares with")
    return _compared(kind, right, fields)


def _compared(kind: str, right: object, fields: Mapping[str, Any]) -> Task:
    if kind == "exact":
        each = right if isinstance(right, list) else [right]
        texts = tuple(_text("answer", one if isinstance(one, str) else str(one)) for one in each)
        if not texts:
            raise ValueError("`answer` is an empty list")
        return Task(kind, texts)
    if kind == "choice":
        letter = str(right).strip().strip("()").upper()
        if len(letter) != 1 or not letter.isalpha():
            raise ValueError(f"`answer` of a choice is one letter, got {str(right)[:40]!r}")
        return Task(kind, (letter,))
    if kind == "regex":
        import regex  # of an extra, and few queries need it

        try:
            regex.compile(_text("answer", right))
        except regex.error as error:
            raise ValueError(f"`answer` is no regular expression: {error}") from error
        return Task(kind, (str(right),))
    number = float(right) if isinstance(right, int | float) else final_number(str(right))
    tolerance = fields.get("tolerance", TOLERANCE)
    if number is None or not math.isfinite(number):
        raise ValueError(f"`answer` of number holds no number, got {str(right)[:40]!r}")
    if not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is a part of the number, from 0 to below 1, got {tolerance!r:.40}")
    return Task(kind, (), number, float(tolerance))


def checked_tests(tests: str) -> str:
    """`tests`; ValueError where they cannot judge a program that runs in another process."""
    try:
        nodes = [*ast.walk(ast.parse(tests))]
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"`tests` is no Python: {error}") from error
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {f"{getattr(node, 'module', None) or ''}.{each.name}".strip(".") for node in imports for each in node.names}
    if any(each.startswith("unittest.mock") for each in names):
        raise ValueError(
            "`tests` use unittest.mock, whose patches do not reach the program, which runs in another process"
        )
    return tests


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"`{name}` must be text that is not blank, got {value!r:.40}")
    return value


def grade(task: Task, answer: str) -> float:
    """1 for a right answer, 0 for a wrong one, by comparison. Raises GradingError for a pattern that takes too long."""
    if task.kind == "exact":
        given = {normalised(without_thoughts(answer)), normalised(final_answer(answer))}
        return float(any(normalised(right) in given for right in task.right))
    if task.kind == "choice":
        return float((chosen_letter(answer),) == task.right)
    if task.kind == "number":
        number = final_number(answer)
        return float(number is not None and abs(number - task.number) <= task.tolerance * max(abs(task.number), 1e-9))
    import regex

    (pattern,) = task.right
    try:
        return float(regex.search(pattern, without_thoughts(answer), timeout=PATTERN_S) is not None)
    except TimeoutError as error:
        raise GradingError(f"the pattern {pattern[:60]!r} took over {PATTERN_S:g} s on an answer") from error
