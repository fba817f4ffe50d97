"""Format of a cell of the report."""

from types import SimpleNamespace

import pytest

from train.compare.report.markdown import Shown, written

MARGIN = Shown("aiq_margin", "", better=1, signed=True)
ERROR = Shown("brier_margin", "", better=-1, digits=2)


def row(value, high=float("nan"), difference=0.0, p_holm=float("nan")):
    return SimpleNamespace(value=value, high=high, difference=difference, p_holm=p_holm)


@pytest.mark.parametrize(
    ("given", "shown", "text"),
    [
        (row(0.0123, 0.0145, 0.004, 0.04), MARGIN, "+0.0123 ±0.0022 ▲"),
        (row(0.0123, 0.0145, -0.004, 0.04), MARGIN, "+0.0123 ±0.0022 ▼"),
        (row(0.0123, 0.0145, -0.004, 0.06), MARGIN, "+0.0123 ±0.0022"),
        (row(-0.1, -0.05, -0.02, 0.0), ERROR, "-0.10 ±0.05 ▲"),
        (row(0.25, 0.25, 0.1, 0.0), Shown("collapse", "", digits=1), "0.2"),
        (row(0.3), MARGIN, "+0.3000"),
        (row(float("nan")), MARGIN, "–"),
    ],
)
def test_a_cell_holds_value_half_an_interval_and_significance_after_holms_correction(given, shown, text):
    assert written(given, shown) == text
