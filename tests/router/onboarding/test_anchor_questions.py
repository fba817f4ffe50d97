"""The shipped anchor questions, and files of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.errors import DataError
from router.grading.grading import grade
from router.onboarding.anchor_questions import SHIPPED, read_questions


def test_the_shipped_questions_are_small_varied_and_graded_right() -> None:
    rows = [json.loads(line) for line in SHIPPED.read_text().splitlines()]
    assert len(rows) > 350 and SHIPPED.stat().st_size <= 250_000
    assert len({row["kind"] for row in rows}) >= 40 and max(len(row["query"]) for row in rows) <= 800
    for each, row in zip(read_questions(), rows, strict=True):
        right = row["answer"] if isinstance(row["answer"], str) else row["answer"][-1]
        assert grade(each.task, f"I think so.\n\n**Answer:** {right}") == 1, row
        assert grade(each.task, "Answer: I do not know") == 0, row


def test_the_form_of_the_answer_is_asked_for_below_the_query(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(
        '{"query": "Which?\\n(A) x\\n(B) y", "grade": "choice", "answer": "b"}\n{"text": "Who?", "answer": "Ada"}\n'
    )
    first, second = read_questions(file)
    assert first.prompt == "Which?\n(A) x\n(B) y\n\nEnd with a line `Answer: ` and the letter alone."
    assert (second.query, second.task.kind, second.task.right) == ("Who?", "exact", ("Ada",))


def test_what_is_wrong_is_listed_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(
        '{"query": "a"}\n{"query": "b", "grade": "judge"}\nno\n{"query": "c", "grade": "number", "answer": "x"}\n'
    )
    with pytest.raises(DataError) as raised:
        read_questions(file)
    lines = str(raised.value).splitlines()
    assert [line.strip().partition(":")[0] for line in lines[1:]] == ["line 1", "line 2", "line 3", "line 4"]
    assert "`answer` is missing" in lines[1] and "need no judge" in lines[2] and "not JSON" in lines[3]
