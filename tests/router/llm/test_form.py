"""JSON objects in the answers of models."""

from __future__ import annotations

import pytest

from router.llm.form import objects


@pytest.mark.parametrize("text", ["", "{", '{"a": ' * 3000, "{}" * 3, "[{}]"])
def test_objects_are_found_in_anything(text: str) -> None:
    assert all(isinstance(each, dict) for each in objects(text))
