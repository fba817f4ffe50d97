"""Text output of the command line: decisions, pools, profiles and reports as aligned lines.

Takes plain objects and returns lines; prints nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.checkpoint.checkpoint import ReadableProfile
    from router.policy.decision import Decision
    from router.pools.models import ModelFacts
    from router.pools.pool import Pool

SHOWN_AXES = 3  # of a query's capabilities and domains


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Lines of aligned columns, two spaces apart; the columns whose numbers are in `right` are aligned to the right.

    >>> table(["model", "usd"], [["a", "10"], ["long", "9"]], right=[1])
    ['model  usd', 'a       10', 'long     9']
    """
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def usd(amount: float | None) -> str:
    """US dollars to three significant digits, never in powers of ten; `?` for an unknown amount.

    >>> [usd(amount) for amount in (0, 0.00001234, 12.5, None)]
    ['$0', '$0.0000123', '$12.50', '?']
    """
    if amount is None:
        return "?"
    if not amount:
        return "$0"
    decimals = max(2, 2 - math.floor(math.log10(abs(amount))))
    return f"${amount:.{decimals}f}"


def decision_lines(decision: Decision, *, explain: bool = False) -> list[str]:
    """The choice, what the query needs, the ranked alternatives, and with `explain` why the first is ahead."""
    dated = f", at prices of {decision.price_date}" if decision.price_date else ""
    facts = [
        (
            "model",
            decision.model + ("  (no profile: judged by the prior of its price class)" if decision.prior else ""),
        ),
        ("quality", f"{decision.quality:.3f}  predicted probability of a good answer"),
        ("cost", f"{usd(decision.cost_usd)}  expected, of this query{dated}"),
        ("pool", f"{decision.pool}, dial {decision.dial:.3g}"),
        *([("goal", f"{decision.goal}, met on {decision.goal.met_on}")] if decision.goal else []),
        ("needs", _weights(decision.capabilities)),
        ("domains", _weights(decision.domains)),
        ("level", f"{decision.level:.1f}  {decision.level_word}, of 1 to 5; familiarity {decision.familiarity:.2f}"),
    ]
    if decision.flagged:
        facts.append(("flagged", f"{decision.flagged!r}  not read: an unusual end that changes the route"))
    rows = [
        [str(rank), other.model, f"{other.quality:.3f}", usd(other.cost_usd), f"{other.utility:.4g}"]
        + (["prior"] if other.prior else [""])
        for rank, other in enumerate(decision.alternatives, 1)
    ]
    lines = [f"{name:<8} {value}" for name, value in facts]
    lines += ["", *table(["#", "model", "quality", "cost", "utility", ""], rows, right=[0, 2, 3, 4])]
    if explain:
        reasons = decision.reasons.lines() if decision.reasons else ["it is the only candidate left"]
        lines += ["", "why", *(f"  {line}" for line in reasons)]
    return lines


def _weights(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:.2f}" for name, weight in list(weights.items())[:SHOWN_AXES])


def pool_lines(pool: Pool, *, default: bool) -> list[str]:
    """The name of a pool and a table of its members' facts."""
    size = f"{len(pool.candidates)} model{'s' if len(pool.candidates) != 1 else ''}"
    rows = [
        [
            candidate.facts.id,
            _price(candidate.facts.input_usd_per_mtok),
            _price(candidate.facts.output_usd_per_mtok),
            f"{candidate.facts.context_window or '?'}",
            ",".join(candidate.facts.modalities),
            _yes_no(candidate.facts.tools),
            "prior" if candidate.system is None else "",
        ]
        for candidate in pool.candidates
    ]
    head = ["model", "in $/Mtok", "out $/Mtok", "context", "input", "tools", ""]
    title = f"{pool.name}  ({size}{', the default' if default else ''})"
    return [title, *(f"  {line}" for line in table(head, rows, right=[1, 2, 3]))]


def _price(price: float | None) -> str:
    return "?" if price is None else f"{price:g}"


def _yes_no(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"


def profile_lines(profile: ReadableProfile, facts: ModelFacts, top: int) -> list[str]:
    """Facts of a model, then the `top` axes on which its learned profile is strongest and weakest, in logits."""
    known = [
        ("model", profile.system.model),
        ("protocol", profile.system.protocol),
        ("price", f"{_price(facts.input_usd_per_mtok)} in, {_price(facts.output_usd_per_mtok)} out, USD per Mtok"),
        ("priced", facts.price_date or "?"),
        ("context", f"{facts.context_window} tokens" if facts.context_window else "?"),
        ("input", ", ".join(facts.modalities)),
        ("tools", _yes_no(facts.tools)),
        ("tags", ", ".join(facts.tags) or "none"),
        ("score", f"{profile.mean_score:.3f}  {profile.rests_on}"),
        ("bias", f"{profile.bias:+.3f}  general strength, in logits"),
    ]
    axes = sorted(profile.axes.items(), key=lambda pair: -pair[1])
    count = min(top, len(axes))
    rows = [
        [strong[0], f"{strong[1]:+.3f}", weak[0], f"{weak[1]:+.3f}"]
        for strong, weak in zip(axes[:count], axes[::-1][:count], strict=True)
    ]
    lines = [f"{name:<9} {value}" for name, value in known]
    return [*lines, "", *table(["strongest axes", "logit", "weakest axes", "logit"], rows, right=[1, 3])]


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The figures of an evaluation, one per line."""
    rows = []
    for name, value in report.items():
        shown = "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
        rows.append([name, shown])
    return table(["figure", "value"], rows, right=[1])
