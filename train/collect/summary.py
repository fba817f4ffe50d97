"""Summary of a collection per model: score, cost, latency, missing grades. Pure sums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from router.cli.text import table, usd
from train.collect.trials import Missing, Trial


@dataclass
class Summary:
    """Sums over the trials of each model."""

    trials: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    score: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    cost_usd: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    latency_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    cut: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    missing: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, results: Sequence[Trial | Missing]) -> None:
        """Count the trials of one query."""
        for each in results:
            if isinstance(each, Missing):
                self.missing[each.model] += 1
                continue
            self.trials[each.model] += 1
            self.score[each.model] += each.score
            self.cost_usd[each.model] += each.answer.usd
            self.latency_s[each.model] += each.answer.latency_s
            self.cut[each.model] += each.answer.finish == "length"

    def lines(self, models: Sequence[str]) -> list[str]:
        """The summary as a table."""
        rows = []
        for model in models:
            n = self.trials[model]
            sums = (self.score[model], self.cost_usd[model], self.latency_s[model])
            score, cost, latency = (value / n if n else None for value in sums)
            shown = [
                "-" if score is None else f"{score:.3f}", usd(cost), "-" if latency is None else f"{latency:.2f} s"
            ]  # fmt: skip
            rows.append([model, f"{n:,}", *shown, f"{self.cut[model]:,}", f"{self.missing[model]:,}"])
        return table(
            ["model", "trials", "score", "cost", "latency", "cut short", "missing"], rows, right=(1, 2, 3, 4, 5, 6)
        )
