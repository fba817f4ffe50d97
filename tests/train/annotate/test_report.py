"""Coverage of axes by labels."""

from __future__ import annotations

from train.annotate.labels import Labels
from train.annotate.report import Coverage


def test_coverage_names_rare_axes_the_rarest_first() -> None:
    coverage = Coverage()
    for row in range(60):
        coverage.add(Labels(("coding", "writing") if row < 50 else ("coding",), ("Law",) if row < 9 else ("Art",)))
    coverage.add(Labels(("reasoning",), ("Opera",)))
    assert coverage.rare_capabilities[-1] == "reasoning"
    assert not {"coding", "writing"} & {*coverage.rare_capabilities}
    assert coverage.rare_domains == ["Opera", "Law"]
    assert any("rare domains, under 10 queries: Opera, Law." in line for line in coverage.lines())
