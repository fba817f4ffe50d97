from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from router.policy.decision import Contributions, Decision, Reasons

REPOSITORY = Path(__file__).parents[2]
MODELS = ("small", "large")
QUALITY = np.array([[0.5, 0.7], [0.8, 0.9], [0.2, 0.8]])  # (B, M)
COST = np.array([[1e-4, 1e-3], [1e-4, 1e-3], [2e-4, 2e-3]])
CHOSEN = (1, 0, 1)


@pytest.fixture
def quickstart() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quickstart", REPOSITORY / "scripts" / "quickstart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decision(row: int, model: int, reasons: Reasons | None = None) -> Decision:
    return Decision(
        query=f"query {row}", model=MODELS[model], pool="two", dial=3.0, quality=float(QUALITY[row, model]),
        cost_usd=float(COST[row, model]), utility=0.1, prior=False, alternatives=(),
        capabilities={"coding": 0.75, "reasoning": 0.25}, domains={"Algorithms": 0.9}, difficulty=0.0,
        level=2.0, familiarity=1.0, reasons=reasons,
    )  # fmt: skip


class FakeRouter:
    def pool(self) -> Any:
        return SimpleNamespace(ids=MODELS)

    def predict(self, queries: Sequence[str]) -> Any:
        return SimpleNamespace(quality=QUALITY[: len(queries)], cost_usd=COST[: len(queries)])

    def route(self, queries: Sequence[str]) -> list[Decision]:

        return [decision(row, CHOSEN[row]) for row in range(len(queries))]


def test_the_best_single_model_has_the_highest_mean_predicted_quality(quickstart: ModuleType) -> None:
    name, quality, cost = quickstart.best_single(FakeRouter(), ["a", "b", "c"])
    assert name == "large"
    assert quality == pytest.approx(0.8)
    assert cost == pytest.approx(0.004)


def test_the_summary_gives_the_predicted_saving_and_its_price_in_quality(quickstart: ModuleType) -> None:
    text = quickstart.summarise(FakeRouter().route(["a", "b", "c"]), ("large", 0.8, 0.005))
    assert "3 queries went to 2 models: large 2x, small 1x" in text
    assert "predicted quality 0.767, cost 1.033 USD per 1,000 queries" in text  # 3.1e-3 USD over three
    assert "predicted quality 0.800, cost 1.667 USD per 1,000 queries (large)" in text
    assert "Predicted, not yet verified: 38% saved against always using the best model, at -0.033 quality." in text


def test_a_decision_shows_what_the_query_needs_and_why_the_model_won(quickstart: ModuleType) -> None:
    axes = Contributions([("coding", "capability")], [0.4])
    shown = quickstart.describe(1, decision(0, 1, Reasons("small", 0.5, axes, 0.1, 0.0, 0.0, 0.02, 0.03, -0.01)))
    assert "-> large  (predicted quality 0.700, cost 0.001000 USD)" in shown
    assert "needs coding 0.75, reasoning 0.25; about Algorithms 0.90" in shown
    assert "ahead of small by +0.0200 utility: quality +0.0300, cost -0.0100" in shown
    assert "ahead of" not in quickstart.describe(2, decision(0, 1))


def test_a_dozen_different_queries_are_routed_and_printed(
    quickstart: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert len(set(quickstart.read_queries(quickstart.QUERIES))) >= 12
    few = tmp_path / "few.txt"
    few.write_text("first\n\n second \nthird\n", encoding="utf-8")
    monkeypatch.setattr(quickstart, "QUERIES", few)
    monkeypatch.setattr(quickstart, "Router", SimpleNamespace(from_pretrained=lambda path: FakeRouter()))
    assert quickstart.main() == 0
    out = capsys.readouterr().out
    assert "Pool two (2 models), cost dial 3" in out
    assert " 3. query 2" in out
    assert out.index("Predicted, not yet verified") < out.index("Loading took")


def test_a_missing_checkpoint_is_one_line_and_exit_code_1(
    quickstart: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(quickstart, "CHECKPOINT", tmp_path / "absent")
    assert quickstart.main() == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("quickstart: error: ")
    assert err.count("\n") == 1


def make_venv(repository: Path, python: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(repository / "scripts" / "make_venv"), "env", "evaluate"]
    path = "/usr/bin:/bin"
    return subprocess.run(
        command, cwd="/", env={"PYTHON": python, "PATH": path}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def bare_clone(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/make_venv", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def test_without_a_usable_python_the_scripts_say_which_is_needed(bare_clone: Path) -> None:
    done = make_venv(bare_clone, "/no/such/python")
    assert done.returncode == 1
    assert "no usable Python at PYTHON=/no/such/python: version 3.11 or newer" in done.stderr
    assert not (bare_clone / "env").exists()


def test_an_environment_that_is_up_to_date_is_left_alone(bare_clone: Path) -> None:
    (bare_clone / "env" / "bin").mkdir(parents=True)
    (bare_clone / "env" / "bin" / "python").symlink_to(sys.executable)
    sums = subprocess.run(
        ["cksum", "pyproject.toml", "constraints.txt"], cwd=bare_clone, capture_output=True, text=True, check=True
    ).stdout
    (bare_clone / "env" / ".installed").write_text(f"{sums}evaluate in {bare_clone}\n")
    done = make_venv(bare_clone, "/no/such/python")
    assert (done.returncode, done.stderr) == (0, "")
