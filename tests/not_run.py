"""A pytest plugin: what a run left out, as its last lines, and a flag under which nothing may be skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

# Marker of tests that an ordinary run leaves out -> what runs them.
ELSEWHERE = {
    "gpu": "pytest -m gpu, on a machine with CUDA",
    "network": "HF_HUB_OFFLINE=0 pytest -m network",
    "services": "./scripts/test --services",
    "full": "./scripts/test --full",
}
left_out: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--no-skips`, under which a machine that lacks what a test needs is a failure."""
    parser.addoption("--no-skips", action="store_true", help="a test that is skipped fails")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Under `--no-skips` a skipped test has failed."""
    report = yield
    if report.skipped and item.config.getoption("no_skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which --no-skips forbids: {report.longrepr}"
    return report


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count what was left out by its markers of ELSEWHERE."""
    for item in items:
        left_out.update(name for name in list(ELSEWHERE) if item.get_closest_marker(name))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each kind of test that was not run, and a count of those that were skipped."""
    skipped = len(terminalreporter.stats.get("skipped", []))
    if not left_out and not skipped:
        return
    terminalreporter.section("not run")
    for name, number in left_out.items():
        terminalreporter.line(f"{number} tests marked {name}: {ELSEWHERE[name]}")
    if skipped:
        terminalreporter.line(f"{skipped} skipped here, for the reasons above")
