"""Markdown report of a comparison, from its tidy table alone.

Knows which figures are shown and how they are written; computes none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pandas as pd

from train.compare.settings import Settings
from train.compare.stats.tally import ALL, POOL, over_benchmarks, select

SIGNIFICANT = 0.05
PRIVILEGED = {  # baselines that know what a router cannot
    "table-benchmark": "knows the true benchmark",
    "table-category": "knows the true category",
    "closed-form-llm": "knows the LLM's labels, and nothing of queries without any",
}


@dataclass(frozen=True)
class Shown:
    """Format of one figure."""

    metric: str
    title: str
    better: int = 0  # 1: the greater the better, -1: the less, 0: neither
    digits: int = 4
    signed: bool = False


FIGURES = (
    Shown("aiq_margin", "AIQ over the Zero router", 1, signed=True),
    Shown("quality_margin", "Quality at dial 0 over the best single model", 1, signed=True),
    Shown("half_cost_margin", "Quality at half the best single model's cost, over it", 1, signed=True),
    Shown("gap_closed", "Share of the gap to the oracle closed", 1, 3),
    Shown("aiq_log_margin", "AIQ over the Zero router on a logarithmic cost axis", 1, signed=True),
    Shown("aiq_equal_lengths_margin", "AIQ over the Zero router if all answers were equally long", 1, signed=True),
    Shown("cost_ratio", "Cost at which the best single model's quality is reached, over that model's cost", -1, 3),
    Shown("unreached", "Share of bootstraps in which it is not reached", -1, 3),
    Shown("ece", "Calibration error (ECE) of the chosen model at dial 0", -1, 3),
    Shown("ece_all_cells", "Calibration error (ECE) over all cells", -1, 3),
    Shown("brier_margin", "Brier score of the chosen model less the constant predictor's", -1, signed=True),
    Shown("collapse", "Share of calls to the strongest model, over the curve", 0, 3),
    Shown("leaves_best_single", "Share of calls that leave the best single model at dial 3", 0, 3),
    Shown("recall_at_1", "Recall at 1 where at most three models win", 1, 3),
    Shown("recall_at_3", "Recall at 3 where at most three models win", 1, 3),
    Shown("routerarena", "RouterArena score at dial 3", 1, 3),
    Shown("routerarena_best_single", "RouterArena score of the best single model", 0, 3),
)
ON_SUBSETS = FIGURES[:3]
LEFT_OUT = (
    FIGURES[1],
    Shown("shuffled_margin", "Shares of models shuffled over the queries, over the best single model", 1, signed=True),
    Shown("ece_plain", "Calibration error of the chosen model at dial 0, its sampling noise included", -1, 3),
    Shown("bias", "Mean predicted quality less mean score, over all cells", 0, 3, signed=True),
)  # fmt: skip


def report(frame: pd.DataFrame, settings: Settings, made: str) -> str:
    """The whole report; `made` is a line with date, command and machine."""
    methods = list(settings.methods)
    parts = [f"# {settings.name}", made, _legend(settings)]
    for regime in frame["regime"].dropna().unique():
        of_regime = frame[frame["regime"] == regime]
        parts += [f"## {regime}", _facts(of_regime)]
        for shown in FIGURES:
            parts += [f"### {shown.title}", _by_pool(select(of_regime, shown.metric), methods, shown)]
        if regime == "leave-one-out":
            parts += _left_out(of_regime, methods)
        parts += _of_parts(of_regime, methods) + _of_subsets(of_regime, methods)
    return "\n\n".join(parts) + "\n"


def _legend(settings: Settings) -> str:
    """Legend of the tables: the meaning of the cells, and the seeds."""
    seeds = ", ".join(f"{name} {list(given)}" for name, given in settings.methods.items())
    privileged = "".join(f"`{name}` {what}. " for name, what in PRIVILEGED.items() if name in settings.methods)
    return (
        f"Means over parts and seeds ± half a 95% interval ({settings.bootstraps:,} paired bootstraps over queries, "
        f"both hulls rebuilt in each). ▲ and ▼: better and worse than `{settings.reference}`, p < {SIGNIFICANT} after "
        f"Holm's correction over the methods and pools of a table. {privileged}Seeds: {seeds}."
    )


def _facts(frame: pd.DataFrame) -> str:
    """Table of the figures that no method changes, one row per pool."""
    header = ("pool", "n", "random", "best single", "oracle", "less lucky guesses", "Zero router AIQ")
    rows = []
    for pool in frame["pool"].unique():
        of_pool = frame[(frame["pool"] == pool) & (frame["method"] == POOL)]
        n = of_pool[(of_pool["metric"] == "n") & (of_pool["part"] != ALL)]["value"].sum()
        values = [_value(select(of_pool, name)) for name in
                  ("random", "best_single", "oracle", "oracle_guess_corrected", "aiq_zero")]  # fmt: skip
        rows.append((pool, f"{n:,.0f}", *(f"{value:.4f}" for value in values)))
    return markdown_table(header, rows)


def _value(rows: pd.DataFrame) -> float:
    return float(rows["value"].iloc[0]) if len(rows) else math.nan


def _by_pool(rows: pd.DataFrame, methods: Sequence[str], shown: Shown, column: str = "pool") -> str:
    """Table of methods by pools, or by parts."""
    names = list(dict.fromkeys(rows[column]))
    cells = {(row.method, getattr(row, column)): written(row, shown) for row in rows.itertuples()}
    return markdown_table(("method", *names), [(m, *(cells.get((m, n), "") for n in names)) for m in methods])


def _left_out(frame: pd.DataFrame, methods: Sequence[str]) -> list[str]:
    """Tables by left-out benchmark and pool, each with the mean over benchmarks in its last row."""
    whole = frame[frame["seed"].isna() & (frame["subset"] == ALL)].set_index(["part", "pool", "method", "metric"])
    cells = {key: row for key, row in zip(whole.index, whole.itertuples(), strict=True) if key[0] != ALL}
    blocks = []
    for shown in LEFT_OUT:
        rows = []
        for part, pool in dict.fromkeys(key[:2] for key in cells):
            n, members, given = (
                f"{cells[part, pool, POOL, name].value:.0f}" for name in ("n", "members", "members_given")
            )
            found = [written(cells[part, pool, method, shown.metric], shown) for method in methods]
            rows.append((part, pool, n, f"{members} of {given}", *found))
        means = [SimpleNamespace(**over_benchmarks(frame, shown.metric, method), p_holm=math.nan) for method in methods]
        rows.append(("mean over benchmarks", "", "", "", *(written(mean, shown) for mean in means)))
        head = ("left out", "pool", "n", "members that remain", *methods)
        blocks += [f"### {shown.title}, by left-out benchmark", markdown_table(head, rows)]
    return blocks


def _of_parts(frame: pd.DataFrame, methods: Sequence[str]) -> list[str]:
    """Tables of the first figures by part, where parts are benchmarks."""
    names = [part for part in frame["part"].unique() if part != ALL and not part.isdigit()]
    blocks = []
    for pool in frame["pool"].unique() if len(names) > 1 else ():
        for shown in ON_SUBSETS:
            rows = frame[frame["seed"].isna() & (frame["subset"] == ALL) & (frame["pool"] == pool)
                         & (frame["metric"] == shown.metric) & frame["part"].isin(names)]  # fmt: skip
            blocks += [f"### {pool}: {shown.title}, by benchmark", _by_pool(rows, methods, shown, "part")]
    return blocks


def _of_subsets(frame: pd.DataFrame, methods: Sequence[str]) -> list[str]:
    """Tables of the first figures on subsets of the queries, and of the gap closed on each benchmark."""
    blocks = []
    titles = {
        "measured": "on benchmarks with measured answer lengths",
        "annotated": "on queries that the LLM labelled",
    }
    for subset, title in titles.items():
        for shown in ON_SUBSETS:
            rows = select(frame, shown.metric, subset=subset)
            if len(rows):
                blocks += [f"### {shown.title}, {title}", _by_pool(rows, methods, shown)]
    of_benchmarks = frame[frame["subset"].str.startswith("benchmark ")]
    gap = next(shown for shown in FIGURES if shown.metric == "gap_closed")
    for pool in of_benchmarks["pool"].unique():
        rows = of_benchmarks[(of_benchmarks["pool"] == pool) & (of_benchmarks["metric"] == gap.metric)]
        rows = rows.assign(benchmark=rows["subset"].str.removeprefix("benchmark "))
        blocks += [f"### {pool}: {gap.title}, by benchmark", _by_pool(rows, methods, gap, "benchmark")]
    return blocks


def written(row: Any, shown: Shown) -> str:
    """One cell: value, half a 95% interval, and a mark for a difference that is significant after Holm's correction."""
    value, high, p = float(row.value), float(row.high), float(row.p_holm)
    if math.isnan(value):
        return "–"
    text = f"{value:{'+' if shown.signed else ''}.{shown.digits}f}"
    text += "" if not high - value > 1e-9 else f" ±{high - value:.{shown.digits}f}"
    if p < SIGNIFICANT and shown.better:
        text += " ▲" if row.difference * shown.better > 0 else " ▼"
    return text


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, names to the left.

    >>> print(markdown_table(("a", "b"), [("x", "1")]))
    | a | b |
    |---|---|
    | x | 1 |
    """
    text = ["| " + " | ".join(line) + " |" for line in [header, *rows]]
    return "\n".join([text[0], "|" + "---|" * len(header), *text[1:]])
