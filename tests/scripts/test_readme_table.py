"""The README's measured section is written by a script, and stands in the README as that writes it."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from train.studies.measure import BEGIN, END

REPOSITORY = Path(__file__).parents[2]
FIGURES = {
    **{"n": 1191, "best_single": 0.794, "oracle": 0.917, "aiq": 0.7689, "aiq_zero": 0.76, "quality": 0.7932},
    **{"quality_at_half_cost": 0.7724, "ece": 0.016},
}
MEASURED = {"folds": [8, 9], "pools": {"chat27": FIGURES}}
KINDS = ("all", "everyday", "non-English uncommonroute")
READ = [f"{what}, {kind}" for what in ("difficulty", "first capability", "first domain") for kind in KINDS]
READING = {
    "folds": [8, 9],
    "figures": [
        {"part": "labels", "name": name, "value": 0.771 + at / 100, "low": 0.7, "high": 0.9, "n": 1000 + at}
        for at, name in enumerate([*READ, "multilingual, F1"])
    ],
}


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_table", REPOSITORY / "scripts" / "readme_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_holds_margins(script: ModuleType) -> None:
    expected = "| chat27 | 1,191 | 0.794 · 0.917 | +0.0089 | -0.0008 | -0.0216 | 0.016 |"
    assert script.row("chat27", FIGURES) == expected


def test_the_section_is_replaced_and_nothing_else(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme, measured, reading = tmp_path / "README.md", tmp_path / "measure.json", tmp_path / "reading.json"
    readme.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    measured.write_text(json.dumps(MEASURED))
    reading.write_text(json.dumps(READING))
    monkeypatch.setattr(sys, "argv", ["readme_table", str(measured), str(reading), "--readme", str(readme)])
    assert script.main() == 0
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n")
    assert "| chat27 | 1,191 |" in text and "(1,000, 1,001, 1,002)" in text and "F1 0.86" in text
    assert "| first capability | 0.80 (0.70 to 0.90) | 0.81 (" in text
    assert "stale" not in text
    reading.write_text(json.dumps(READING | {"folds": [7]}))
    with pytest.raises(SystemExit):
        script.main()


def test_the_readme_holds_what_the_script_writes(script: ModuleType) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(re.escape(BEGIN) + ".*?" + re.escape(END), text, flags=re.DOTALL)
    seed = json.loads((REPOSITORY / "checkpoints/routemix/config.json").read_text())["training"]["seed"]
    date = re.search(r"\d{4}-\d\d-\d\d", block)
    assert date is not None
    written = script.section(MEASURED, READING, seed, date[0])
    outline = [line for line in written.splitlines() if line.startswith(("| pool", "| what it reads", "Folds "))]
    assert len(outline) == 3 and all(line in block for line in outline)
