"""Coverage of axes by labels; agreement of annotators, against published and hand-computed figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from train.annotate.labels import Labels
from train.annotate.ordinal import OrdinalAgreement
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


def test_the_correlation_of_difficulties_is_spearmans() -> None:
    generator, agreement = np.random.default_rng(0), OrdinalAgreement()
    first = generator.integers(1, 6, size=80)
    second = np.clip(first + generator.integers(-1, 3, size=80), 1, 5)
    for pair in zip(first.tolist(), second.tolist(), strict=True):
        agreement.add(pair)
    assert agreement.spearman() == pytest.approx(spearmanr(first, second).statistic)
    same = OrdinalAgreement()
    same.add([3, 3])
    same.add([4])
    assert same.to_json() == {"pairs": 1, "alpha": None, "spearman": None}


def test_coverage_names_rare_axes_the_rarest_first() -> None:
    coverage = Coverage()
    for row in range(60):
        coverage.add(Labels(("coding", "writing") if row < 50 else ("coding",), ("Law",) if row < 9 else ("Art",), 2))
    coverage.add(Labels(("reasoning",), ("Opera",), 5))
    assert coverage.rare_capabilities[-1] == "reasoning"
    assert not {"coding", "writing"} & {*coverage.rare_capabilities}
    assert coverage.rare_domains == ["Opera", "Law"]
    assert "difficulty: 1 0, 2 60, 3 0, 4 0, 5 1" in coverage.lines()
    assert any("rare domains, under 10 queries: Opera, Law." in line for line in coverage.lines())
