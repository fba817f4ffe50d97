"""What people read: aligned, without powers of ten, nothing unknown passed off as known."""

from __future__ import annotations

from dataclasses import replace

from fixtures.fake_router import PROBE, FakeRouter

from router.cli.text import decision_lines, report_lines, table, usd

ROUTER = FakeRouter()
DECISION = ROUTER.route(PROBE, dial=3.0, pool=ROUTER.pool(), allow=[])


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(["a", "longer"], [["wide cell", "1"]], right=[1]) == ["a          longer", "wide cell       1"]
    assert table(["head"], []) == ["head"]


def test_small_amounts_are_written_out() -> None:
    assert usd(1.2345e-7) == "$0.000000123"
    assert usd(0.5) == "$0.500"
    assert usd(1234.5) == "$1234.50"


def test_a_model_judged_by_its_price_class_is_marked() -> None:
    decision = replace(
        DECISION, prior=True, alternatives=tuple(replace(each, prior=True) for each in DECISION.alternatives)
    )
    lines = decision_lines(decision)
    assert lines[0] == "model    small  (no profile: judged by the prior of its price class)"
    assert lines[-1].endswith("  prior")


def test_the_date_of_the_prices_stands_behind_the_cost() -> None:
    assert decision_lines(replace(DECISION, price_date="2026-11"))[2].endswith("of this query, at prices of 2026-11")


def test_a_choice_without_a_runner_up_is_explained_too() -> None:
    assert decision_lines(replace(DECISION, reasons=None), explain=True)[-1] == "  it is the only candidate left"


def test_a_report_shows_what_is_missing_as_none() -> None:
    assert report_lines({"n": 3, "aiq": 0.123456, "ece": None}) == [
        "figure   value", "n            3", "aiq     0.1235", "ece       none",
    ]  # fmt: skip
