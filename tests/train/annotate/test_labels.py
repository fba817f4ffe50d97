"""Labels read from an annotator's JSON."""

from __future__ import annotations

from typing import Any

import pytest

from train.annotate.labels import read_labels

GOOD = {"capabilities": ["coding"], "knowledge": ["Law"]}


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({"capabilities": ["poetry"], "knowledge": ["Law"]}, "'poetry' is no capability; the capabilities are reas"),
        ({"capabilities": "coding", "knowledge": ["Law"]}, "capabilities must be a list of 1 to 3 names"),
        ({"capabilities": ["coding"], "knowledge": []}, "knowledge must be a list"),
        ({"capabilities": ["coding"], "knowledge": [7]}, "knowledge must be a list"),
        ({"capabilities": ["coding"], "knowledge": ["x" * 61]}, "is no name of a knowledge domain"),
        ({"capabilities": ["coding"], "knowledge": ["<<<Law>>>"]}, "is no name of a knowledge domain"),
        *(
            (GOOD | {"difficulty": level}, "difficulty must be a whole number from 1 to 5, got ")
            for level in (0, 6, 2.5, 3.0, "3", True, None, [3])
        ),
        (GOOD, "difficulty must be a whole number from 1 to 5, got 'None'"),
    ],
)
def test_labels_that_are_not_allowed_are_refused_with_what_to_mend(found: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_labels(found)


def test_labels_of_another_spelling_are_put_right_and_many_are_cut() -> None:
    labels = read_labels(
        {
            "capabilities": ["In_Context Learning", "CODING", "coding", "writing", "agentic"],
            "knowledge": [" Élan  vital ", "C++ (Programming)", "R&D", "Law"],
            "difficulty": 5,
        }
    )
    assert labels.capabilities == ("in-context learning", "coding", "writing")
    assert labels.knowledge == ("Élan vital", "C++ (Programming)", "R&D")
    assert labels.difficulty == 5
