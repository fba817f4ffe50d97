"""How answers are graded by comparison, and what a row must say for it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import regex

from router.errors import GradingError
from router.grading.grading import KINDS, Task, grade, read_task


def graded(fields: dict[str, Any], answer: str) -> float:
    return grade(read_task(fields, "exact"), answer)


def test_an_exact_answer_may_be_the_whole_text_or_what_it_ends_in_and_any_of_several() -> None:
    assert graded({"answer": "the nile"}, "The  NILE.") == 1
    assert graded({"answer": "The answer is: the Nile"}, "The answer is: the Nile") == 1  # as a whole
    assert graded({"answer": "Nile"}, "It is long. **Answer:** Nile") == 1
    assert graded({"answer": ["Amazon", "Nile"]}, "<think>Amazon</think>Nile") == 1
    assert graded({"answer": ["Amazon", "Congo"]}, "Nile") == 0
    assert graded({"answer": [4, "four"]}, "4") == 1
    assert isinstance(graded({"answer": "Nile"}, "Nile"), float)


def test_a_choice_is_one_letter_however_it_is_written() -> None:
    for written in ("b", " (B) ", "B"):
        assert read_task({"grade": "choice", "answer": written}, "exact") == Task("choice", ("B",))
    assert graded({"grade": "choice", "answer": "b"}, "The answer is (B).") == 1
    assert graded({"grade": "choice", "answer": "b"}, "Both are wrong, the answer is (C).") == 0
    assert graded({"grade": "choice", "answer": "b"}, "The answer is (A).") == 0
    for wrong in ("AB", "", "7", "()"):
        with pytest.raises(ValueError, match="`answer` of a choice is one letter, got"):
            read_task({"grade": "choice", "answer": wrong}, "exact")


@pytest.mark.parametrize(
    ("fields", "answer", "score"),
    [
        ({"answer": 100}, "100.0099", 1),  # within 1e-4 of it, just
        ({"answer": 100}, "99.9901", 1),
        ({"answer": 100}, "100.011", 0),
        ({"answer": -100}, "-100.0099", 1),
        ({"answer": -100}, "100", 0),
        ({"answer": 64, "tolerance": 0.25}, "80", 1),
        ({"answer": 64, "tolerance": 0.25}, "81", 0),
        ({"answer": 64, "tolerance": 0}, "64", 1),
        ({"answer": 64, "tolerance": 0}, "64.000001", 0),
        ({"answer": 0}, "0", 1),
        ({"answer": 0, "tolerance": 0.5}, "0.0000000004", 1),  # nothing is near 0 by a part of it: by a part of 1e-9
        ({"answer": 0, "tolerance": 0.5}, "0.000000001", 0),
        ({"answer": "about 1/4"}, "0.25", 1),
        ({"answer": 5}, "none", 0),
    ],
)
def test_a_number_is_right_within_its_tolerance(fields: dict[str, Any], answer: str, score: float) -> None:
    assert graded({"grade": "number", **fields}, answer) == score


@pytest.mark.parametrize("tolerance", [-0.1, 1, 1.5, "0.1", None, math.nan])
def test_a_tolerance_is_a_part_of_the_number(tolerance: object) -> None:
    with pytest.raises(ValueError, match="tolerance is a part of the number, from 0 to below 1, got"):
        read_task({"grade": "number", "answer": 1, "tolerance": tolerance}, "exact")


@pytest.mark.parametrize("answer", ["many", math.inf, math.nan, "1/0"])
def test_a_number_that_is_none_is_refused_with_its_beginning(answer: object) -> None:
    with pytest.raises(ValueError, match=f"`answer` of number holds no number, got {str(answer)!r}"):
        read_task({"grade": "number", "answer": answer}, "exact")


def test_what_a_message_shows_of_a_long_value_is_cut() -> None:
    with pytest.raises(ValueError, match=f"got '{'x' * 40}'$"):
        read_task({"grade": "number", "answer": "x" * 90}, "exact")
    with pytest.raises(ValueError, match=f"got '{'x' * 40}'$"):
        read_task({"grade": "choice", "answer": "x" * 90}, "exact")
    with pytest.raises(ValueError, match=r"tolerance .* got 'x{39}$"):
        read_task({"grade": "number", "answer": 1, "tolerance": "x" * 90}, "exact")
    with pytest.raises(ValueError, match=r"`answer` must be text that is not blank, got \[0, 0, [0, ]{33}$"):
        read_task({"grade": "regex", "answer": [0] * 90}, "exact")


def test_a_pattern_is_searched_in_what_follows_the_thoughts() -> None:
    assert graded({"grade": "regex", "answer": r"\bcat\b"}, "a cat") == 1
    assert graded({"grade": "regex", "answer": r"\bcat\b"}, "<think>a cat</think>a dog") == 0
    with pytest.raises(ValueError, match="`answer` is no regular expression: "):
        read_task({"grade": "regex", "answer": "("}, "exact")


def test_a_pattern_gets_a_second_and_the_error_names_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_time(pattern: str, text: str, timeout: float) -> None:
        assert timeout == 1.0
        raise TimeoutError

    monkeypatch.setattr(regex, "search", out_of_time)
    with pytest.raises(GradingError, match=f"the pattern '{'a' * 60}' took over 1 s on an answer"):
        grade(Task("regex", ("a" * 70,)), "text")


def test_a_row_says_how_it_is_graded_before_the_default_does() -> None:
    assert read_task({"answer": "b"}, "choice").kind == "choice"
    assert read_task({"answer": "b", "grade": "exact"}, "choice").kind == "exact"
    for kind in ("vibes", None, 3):
        with pytest.raises(ValueError, match=f"grade must be one of {', '.join(KINDS)}, got {kind!r}"):
            read_task({"grade": kind, "answer": "a"}, "exact")


@pytest.mark.parametrize("kind", ["exact", "choice", "number", "regex"])
def test_what_is_compared_needs_an_answer_to_compare_with(kind: str) -> None:
    with pytest.raises(ValueError, match=f"`answer` is missing, which {kind} compares with"):
        read_task({}, kind)


@pytest.mark.parametrize("blank", ["", "  ", [" "], ["a", ""]])
def test_a_blank_answer_and_an_empty_list_are_refused(blank: object) -> None:
    with pytest.raises(ValueError, match="`answer` must be text that is not blank, got"):
        read_task({"answer": blank}, "exact")
    with pytest.raises(ValueError, match="`answer` is an empty list"):
        read_task({"answer": []}, "exact")


def test_a_judge_takes_an_answer_and_a_rubric_where_there_are_any() -> None:
    assert read_task({}, "judge") == Task("judge")
    assert read_task({"answer": "a", "rubric": "r"}, "judge") == Task("judge", ("a",), rubric="r")
    with pytest.raises(ValueError, match="`answer` must be text that is not blank, got 3"):
        read_task({"answer": 3}, "judge")


def test_a_pair_is_the_rows_answer_or_another_models_which_comes_first() -> None:
    assert read_task({"answer": "a", "rubric": "r"}, "pairwise") == Task("pairwise", ("a",), rubric="r")
    assert read_task({"rubric": "r"}, "pairwise", against="m") == Task("pairwise", rubric="r")
    assert read_task({"answer": "a"}, "pairwise", against="m") == Task("pairwise")
    with pytest.raises(ValueError, match="pairwise needs `answer` to compare with, or --against MODEL"):
        read_task({}, "pairwise")


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        (None, "`tests` must be text that is not blank, got None"),
        ("assert (", "`tests` is no Python: "),
        ("a = '\0'", "`tests` is no Python: "),
        ("import unittest.mock", "`tests` use unittest.mock"),
        ("from unittest import mock", "`tests` use unittest.mock"),
        ("def f():\n    from unittest.mock import patch", "`tests` use unittest.mock"),
    ],
)
def test_tests_of_code_that_cannot_judge_it_are_refused(tests: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_task({"tests": tests}, "code")


def test_tests_of_code_may_import_what_they_need() -> None:
    tests = "import math, unittest\nfrom . import x\nfrom os import path\nassert f(1) == math.pi"
    assert read_task({"tests": tests}, "code") == Task("code", tests=tests)


def test_a_task_is_a_value_with_the_tolerance_that_the_documentation_names() -> None:
    assert hash(Task("exact")) == hash(Task("exact"))
    assert Task("number").tolerance == 1e-4
    assert "default 1e-4" in KINDS["number"]
