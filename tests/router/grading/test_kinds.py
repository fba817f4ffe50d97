"""Grading tasks of every kind: right and wrong answers, and rows that cannot be graded."""

from __future__ import annotations

from typing import Any

import pytest

from router.grading.grading import GradingError, Task, grade, read_task

GRADED = [
    ({"answer": "Nile"}, "It is long. **Answer:** The river.\nAnswer: nile.", 1),
    ({"answer": ["Nile", "the Nile"]}, "The  NILE", 1),
    ({"answer": "Nile"}, "The Nile, unless it is the Amazon.", 0),
    ({"answer": 4}, "<think>5</think>4", 1),
    ({"grade": "choice", "answer": "b"}, "A looks right, but the answer is (B).", 1),
    ({"grade": "choice", "answer": "(B)"}, "B) because A is wrong", 1),
    ({"grade": "choice", "answer": "A"}, "I do not know", 0),
    ({"grade": "number", "answer": 1234.5}, "So in all we pay $1,234.50.", 1),
    ({"grade": "number", "answer": "1/3"}, "\\boxed{\\frac{1}{3}}", 1),
    ({"grade": "number", "answer": 100, "tolerance": 0.05}, "about 104", 1),
    ({"grade": "number", "answer": 100, "tolerance": 0.05}, "about 106", 0),
    ({"grade": "number", "answer": -2}, "x = -2", 1),
    ({"grade": "regex", "answer": r"^(?i)def \w+\("}, "def f(x): pass", 1),
    ({"grade": "regex", "answer": r"\bcat\b"}, "concatenate", 0),
]


@pytest.mark.parametrize(("fields", "answer", "score"), GRADED)
def test_answers_are_graded_by_comparison(fields: dict[str, Any], answer: str, score: float) -> None:
    assert grade(read_task(fields, "exact"), answer) == score


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "`answer` is missing, which exact compares with"),
        ({"grade": "vibes"}, "grade must be one of exact, choice"),
        ({"grade": "choice", "answer": "AB"}, "of a choice is one letter"),
        ({"grade": "number", "answer": "many"}, "holds no number"),
        ({"grade": "number", "answer": 1, "tolerance": 2}, "tolerance is a part of the number"),
        ({"grade": "regex", "answer": "("}, "is no regular expression"),
        ({"grade": "code"}, "`tests` must be text"),
        ({"grade": "pairwise"}, "pairwise needs `answer` to compare with, or --against MODEL"),
        ({"answer": []}, "empty list"),
    ],
)
def test_a_row_that_cannot_be_graded_says_why(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_task(fields, "exact")


def test_a_pattern_that_runs_away_is_stopped() -> None:
    with pytest.raises(GradingError, match="took over 1 s"):
        grade(Task("regex", (r"^(\w*)(\w*)(\w*)(\w*)(\w*)(\w*)\1\2\3\4\5\6!$",)), "a" * 60 + "?!")
