"""Report of an annotation run: coverage (axes too rare to learn a profile), agreement, failures. Pure counts.

Agreement is Krippendorff's alpha per axis, Jaccard index, equal first labels; of difficulty see `ordinal`. Alpha for
nominal data after Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): 1 is full agreement, 0 is agreement
by chance. The package `krippendorff` is under GPL-3 and needs all labels in memory.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from router.cli.text import table
from router.evaluation.folder_tables import LEVELS
from router.llm.form import Filled
from router.network.taxonomy import CAPABILITIES
from train.annotate.labels import PROMPT_VERSION, Labels
from train.annotate.ordinal import OrdinalAgreement

RARE_CAPABILITY = 50  # with fewer answers on an axis, a profile's entry is mostly noise
RARE_DOMAIN = 10  # as in the consolidation of a training run (`data.minimum_count`)
SHOWN = 12

Readings = Mapping[str, "Filled[Labels] | str"]  # annotator -> its labels, or why there are none


def _alpha(n: float, agreeing: float, counts: Collection[float]) -> float | None:
    """Alpha of `n` pairable values, of which `agreeing` is the sum of the coincidence matrix's diagonal."""
    by_chance = n * n - sum(count * count for count in counts)
    return None if by_chance <= 0 else 1 - (n - 1) * (n - agreeing) / by_chance


@dataclass
class NominalAlpha:
    """Krippendorff's alpha of one value per annotator and query."""

    n: int = 0
    agreeing: float = 0.0
    counts: Counter[Hashable] = field(default_factory=Counter)

    def add(self, values: Sequence[Hashable]) -> None:
        """Count the values of one query's annotators; a single value has no pair and does not count."""
        m = len(values)
        if m < 2:
            return
        self.n += m
        for value, k in Counter(values).items():
            self.agreeing += k * (k - 1) / (m - 1)
            self.counts[value] += k

    def value(self) -> float | None:
        """Alpha; None where all values are equal, or there are none.

        >>> alpha = NominalAlpha()
        >>> for pair in zip("0100000000", "1110010100"):  # Krippendorff (2011), A
        ...     alpha.add(pair)
        >>> round(alpha.value(), 3)
        0.095
        """
        return _alpha(self.n, self.agreeing, self.counts.values())


@dataclass
class AxisAlpha:
    """Krippendorff's alpha of each axis: whether an annotator named it. Memory grows with axes, not with queries."""

    n: int = 0
    named: Counter[str] = field(default_factory=Counter)
    # Without what each query would add if no annotator named the axis.
    agreeing: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, sets: Sequence[Collection[str]]) -> None:
        """Count the names of one query's annotators."""
        m = len(sets)
        if m < 2:
            return
        self.n += m
        for name, k in Counter(name for names in sets for name in set(names)).items():
            self.named[name] += k
            self.agreeing[name] += (k * (k - 1) + (m - k) * (m - k - 1)) / (m - 1) - m

    def value(self, name: str) -> float | None:
        """Alpha; None where no annotator named the axis, or every annotator named it for every query."""
        k = self.named[name]
        return _alpha(self.n, self.n + self.agreeing[name], (k, self.n - k))


@dataclass
class Agreement:
    """Agreement on one kind of label, capabilities or knowledge domains, as ranked by each annotator."""

    axes: AxisAlpha = field(default_factory=AxisAlpha)
    first: NominalAlpha = field(default_factory=NominalAlpha)
    pairs: int = 0
    jaccard: float = 0.0
    first_alike: int = 0
    queries: int = 0

    def add(self, ranked: Sequence[Sequence[str]]) -> None:
        """Count the ranked labels of one query's annotators."""
        self.queries += len(ranked) > 1
        self.axes.add(ranked)
        self.first.add([names[0] for names in ranked])
        for left, right in combinations(ranked, 2):
            self.pairs += 1
            self.jaccard += len({*left} & {*right}) / len({*left} | {*right})
            self.first_alike += left[0] == right[0]

    def to_json(self, least: int) -> dict[str, object]:
        """All figures; alpha of the axes named at least `least` times."""
        shown = sorted(name for name, k in self.axes.named.items() if k >= least)
        return {
            "queries": self.queries,
            "mean_jaccard": self.jaccard / self.pairs if self.pairs else None,
            "first_label_agreement": self.first_alike / self.pairs if self.pairs else None,
            "first_label_alpha": self.first.value(),
            "alpha": {name: self.axes.value(name) for name in shown},
        }


@dataclass
class Coverage:
    """Counts of one annotator's labels."""

    queries: int = 0
    capabilities: Counter[str] = field(default_factory=Counter)
    first: Counter[str] = field(default_factory=Counter)
    knowledge: Counter[str] = field(default_factory=Counter)
    difficulty: Counter[int] = field(default_factory=Counter)

    def add(self, labels: Labels) -> None:
        """Count one query."""
        self.queries += 1
        self.capabilities.update(labels.capabilities)
        self.first[labels.capabilities[0]] += 1
        self.knowledge.update(labels.knowledge)
        self.difficulty[labels.difficulty] += 1

    @property
    def rare_capabilities(self) -> list[str]:
        """Capabilities that fewer than RARE_CAPABILITY queries need, the rarest first."""
        return _rare(self.capabilities, CAPABILITIES, RARE_CAPABILITY)

    @property
    def rare_domains(self) -> list[str]:
        """Domains named fewer than RARE_DOMAIN times, the rarest first."""
        return _rare(self.knowledge, self.knowledge, RARE_DOMAIN)

    def to_json(self) -> dict[str, object]:
        """All counts."""
        return {
            "queries": self.queries,
            "capabilities": {name: self.capabilities[name] for name in CAPABILITIES},
            "first_capability": {name: self.first[name] for name in CAPABILITIES},
            "knowledge": dict(self.knowledge.most_common()),
            "difficulty": {str(level): self.difficulty[level] for level in LEVELS},
            "rare_capabilities": self.rare_capabilities,
            "rare_domains": self.rare_domains,
        }

    def lines(self) -> list[str]:
        """Counts as a table, with advice on rare axes."""
        rows = [[name, f"{self.capabilities[name]:,}", f"{self.first[name]:,}"] for name in CAPABILITIES]
        lines = table(["capability", "queries", "first"], rows, right=(1, 2))
        top = ", ".join(f"{name} {n:,}" for name, n in self.knowledge.most_common(SHOWN))
        lines += ["", f"knowledge domains: {len(self.knowledge):,} names; most often {top}"]
        lines.append("difficulty: " + ", ".join(f"{level} {self.difficulty[level]:,}" for level in LEVELS))
        if rare := self.rare_capabilities:
            names = ", ".join(f"{name} ({self.capabilities[name]})" for name in rare)
            lines.append(f"rare capabilities, under {RARE_CAPABILITY} queries: {names}. Add queries that need them")
        if rare := self.rare_domains:
            more = f", and {len(rare) - SHOWN:,} more" if len(rare) > SHOWN else ""
            names = f"{', '.join(rare[:SHOWN])}{more}"
            lines.append(
                f"rare domains, under {RARE_DOMAIN} queries: {names}. Training merges each with a similar domain, or "
                "with `other`"
            )
        return lines


@dataclass
class Report:
    """Figures of a run."""

    annotators: Iterable[str]
    capabilities: Agreement = field(default_factory=Agreement)
    knowledge: Agreement = field(default_factory=Agreement)
    difficulty: OrdinalAgreement = field(default_factory=OrdinalAgreement)
    repaired: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        self.coverage = {name: Coverage() for name in self.annotators}

    def add(self, readings: Readings) -> None:
        """Count one query."""
        filled = {name: each for name, each in readings.items() if isinstance(each, Filled)}
        self.failed += len(readings) - len(filled)
        self.repaired += sum(each.answers > 1 for each in filled.values())
        for name, each in filled.items():
            self.coverage[name].add(each.value)
        if len(filled) > 1:
            self.capabilities.add([each.value.capabilities for each in filled.values()])
            self.knowledge.add([[name.casefold() for name in each.value.knowledge] for each in filled.values()])
            self.difficulty.add([each.value.difficulty for each in filled.values()])

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "prompt_version": PROMPT_VERSION,
            "repaired": self.repaired,
            "failed": self.failed,
            "coverage": {name: each.to_json() for name, each in self.coverage.items()},
            "agreement": {
                "capabilities": self.capabilities.to_json(1),
                "knowledge": self.knowledge.to_json(RARE_DOMAIN),
                "difficulty": self.difficulty.to_json(),
            },
        }

    def lines(self) -> list[str]:
        """Coverage of the first annotator, which training reads, and agreement where there are several annotators."""
        lines = next(iter(self.coverage.values())).lines()
        for kind, agreement, least in (
            ("capabilities", self.capabilities, 1),
            ("knowledge domains", self.knowledge, RARE_DOMAIN),
        ):
            if agreement.pairs:
                lines += ["", *_agreement_lines(kind, agreement.to_json(least))]
        if self.capabilities.pairs:
            found = self.difficulty.to_json()
            lines += [
                "",
                f"agreement on difficulty: Krippendorff's alpha, ordinal, {_figure(found['alpha'])}, Spearman's "
                f"correlation {_figure(found['spearman'])}",
            ]
        return lines


def _agreement_lines(kind: str, found: Mapping[str, Any]) -> list[str]:
    axes = ", ".join(f"{name} {_figure(value)}" for name, value in found["alpha"].items())
    return [
        f"agreement on {kind}, {found['queries']:,} queries: first label {_figure(found['first_label_agreement'])} "
        f"(Krippendorff's alpha {_figure(found['first_label_alpha'])}), Jaccard {_figure(found['mean_jaccard'])}",
        f"  alpha per axis: {axes or 'none was named often enough'}",
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _rare(count: Counter[str], names: Iterable[str], least: int) -> list[str]:
    return sorted((name for name in names if count[name] < least), key=lambda name: (count[name], name))
