"""What a run says it left out, and a run in which nothing may be skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.end_to_end

REPOSITORY = Path(__file__).resolve().parents[1]
TESTS = """
import pytest
def test_passes(): pass
def test_skips(): pytest.skip("no such program")
@pytest.mark.full
def test_slow(): pass
"""


@pytest.fixture
def run(tmp_path: Path):
    """Exit code and output of pytest on TESTS with more arguments."""
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "not_run", "-p", "no:cacheprovider", "-m", "not full", "-ra"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "tests"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    def call(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout

    return call


def test_a_run_ends_with_what_it_left_out_and_where_that_runs(run) -> None:
    code, printed = run()
    assert code == 0
    assert "1 tests marked full: ./scripts/test --full" in printed
    assert "1 skipped here, for the reasons above" in printed


def test_without_skips_allowed_a_skipped_test_fails_and_its_reason_is_shown(run) -> None:
    code, printed = run("--no-skips")
    assert code == 1
    assert "1 failed, 1 passed" in printed
    assert "no such program" in printed
