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
MEASURED = {
    "folds": [8, 9],
    "pools": {"chat27": FIGURES},
    "first_capability": 0.8871,
    "first_domain": 0.713,
    "annotated": 1118,
}
SPREAD = {"aiq_margin": {"mean": 0.0105, "sd": 0.00131}, "quality_margin": {"mean": -0.002, "sd": 0.0019}}
SEEDS = {
    "config": "configs/routemix.yaml",
    "rows": {"folds": [8, 9]},
    "seeds": [0, 1, 2],
    "figures": {"chat27": SPREAD},
}


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_table", REPOSITORY / "scripts" / "readme_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_holds_margins_and_their_spread(script: ModuleType) -> None:
    assert script.row("chat27", FIGURES, SPREAD) == (
        "| chat27 | 1,191 | 0.794 · 0.917 | +0.0089 | -0.0008 | -0.0216 | 0.016 | +0.0105 ±0.0013 | -0.0020 ±0.0019 |"
    )


def test_the_section_is_replaced_and_nothing_else(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme, measured, seeds = tmp_path / "README.md", tmp_path / "measure.json", tmp_path / "seeds.json"
    readme.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    measured.write_text(json.dumps(MEASURED))
    seeds.write_text(json.dumps(SEEDS))
    monkeypatch.setattr(sys, "argv", ["readme_table", str(measured), str(seeds), "--readme", str(readme)])
    assert script.main() == 0
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n")
    assert "| chat27 | 1,191 |" in text and "in 88.7% of 1,118 queries, first domain in 71.3%" in text
    assert "stale" not in text and "seeds 0, 1, 2" in text


def test_the_readme_holds_what_the_script_writes(script: ModuleType) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(re.escape(BEGIN) + ".*?" + re.escape(END), text, flags=re.DOTALL)
    seed = json.loads((REPOSITORY / "checkpoints/routemix/config.json").read_text())["training"]["seed"]
    date = re.search(r"\d{4}-\d\d-\d\d", block)
    assert date is not None
    written = script.section(MEASURED, SEEDS, seed, date[0])
    outline = [line for line in written.splitlines() if line.startswith(("| pool", "The shipped seed is"))]
    assert len(outline) == 2 and all(line in block for line in outline)
