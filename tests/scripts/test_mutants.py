"""The groups of scripts/mutants.py name files and tests that exist; cosmic-ray itself is in no test environment."""

from __future__ import annotations

import ast
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_every_source_and_every_test_of_a_group_exists() -> None:
    tree = ast.parse((REPOSITORY / "scripts" / "mutants.py").read_text(encoding="utf-8"))
    (groups,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "GROUPS"
    ]
    named = [name for sources, _ in groups.values() for name in sources.split()]
    named += [f"tests/{name}.py" for _, tests in groups.values() for name in tests.split()]
    assert len(groups) == 10
    assert [name for name in named if not (REPOSITORY / name).is_file()] == []
