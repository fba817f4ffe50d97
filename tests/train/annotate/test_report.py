"""Coverage of axes by labels; agreement of annotators, against published and hand-computed figures."""

from __future__ import annotations

import pytest

from train.annotate.labels import Labels
from train.annotate.report import Agreement, AxisAlpha, Coverage, NominalAlpha


def test_alpha_is_that_of_krippendorffs_own_example() -> None:
    coders = (
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    )
    alpha, axes = NominalAlpha(), AxisAlpha()
    for unit in zip(*(coder.split() for coder in coders), strict=True):
        alpha.add([value for value in unit if value != "."])
        axes.add([{value} for value in unit if value != "."])
    assert alpha.value() == pytest.approx(0.743, abs=5e-4)
    assert alpha.n == 40
    one = NominalAlpha()
    for unit in zip(*(coder.split() for coder in coders), strict=True):
        one.add([value == "1" for value in unit if value != "."])
    assert axes.value("1") == pytest.approx(one.value())


def test_agreement_by_hand() -> None:
    agreement = Agreement()
    agreement.add([["a", "b"], ["a", "c"]])  # Jaccard 1/3
    agreement.add([["a"], ["b"]])  # 0
    agreement.add([["c"]])  # nobody to agree with
    found = agreement.to_json(least=1)
    assert (found["queries"], found["mean_jaccard"], found["first_label_agreement"]) == (2, pytest.approx(1 / 6), 0.5)
    assert NominalAlpha().value() is None


def test_coverage_names_rare_axes_the_rarest_first() -> None:
    coverage = Coverage()
    for row in range(60):
        coverage.add(Labels(("coding", "writing") if row < 50 else ("coding",), ("Law",) if row < 9 else ("Art",)))
    coverage.add(Labels(("reasoning",), ("Opera",)))
    assert coverage.rare_capabilities[-1] == "reasoning"
    assert not {"coding", "writing"} & {*coverage.rare_capabilities}
    assert coverage.rare_domains == ["Opera", "Law"]
    assert any("rare domains, under 10 queries: Opera, Law." in line for line in coverage.lines())
