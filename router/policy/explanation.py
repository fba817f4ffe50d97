"""Explanations of decisions: why the first model is ahead of the second, term by term.

Writes the decisions of a ranked batch. Chooses nothing and does not read the queries. Axes: B queries, M candidates, D
vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, host
from router.network.taxonomy import Taxonomy
from router.policy.candidates import Candidates, Prediction
from router.policy.decision import Alternative, Contributions, Decision, Reasons, strongest
from router.policy.goals import Goal


@dataclass(frozen=True)
class RankedBatch:
    """Ranked candidates of B queries, with all other values that their decisions need."""

    queries: Sequence[str]
    pool: str
    candidates: Candidates
    taxonomy: Taxonomy
    axes: tuple[tuple[str, str], ...]  # `contributing` of the taxonomy
    prediction: Prediction
    utility: Array  # (B, M)
    dials: NDArray[np.float64]  # (B,)
    weights: NDArray[np.float64]  # (B,) quality per USD
    order: list[list[int]]  # of each query its admitted candidates, the chosen one first, at least two where there are
    goal: Goal | None
    flagged: Sequence[str | None]  # (B,) the tails that the guard left out

    def decisions(self, top: int, rows: range | None = None) -> list[Decision]:
        """One for each query, or for each query in `rows`, with at most `top` alternatives."""
        rows = range(len(self.queries)) if rows is None else rows
        at = slice(rows.start, rows.stop)
        # Moved off the device, and out of arrays whose every number is read, once for the whole batch.
        columns = [host(part) for part in (self.prediction.quality, self.prediction.cost_usd, self.utility)]
        query = self.prediction.query
        vector = query.vector
        read = (query.capability, query.knowledge, query.difficulty, query.level, query.familiarity)
        needs = [part[at].tolist() for part in read]
        each = zip(rows, *needs, strict=True)
        return [self._decision(row, columns, needed, vector[row], top) for row, *needed in each]

    def _decision(self, row: int, columns: list[NDArray[Any]], needs: list[Any], vector: Array, top: int) -> Decision:
        candidates, order = self.candidates, self.order[row]
        quality, cost, utility = (values[row, order].tolist() for values in columns)
        capability, knowledge, difficulty, level, familiarity = needs
        alternatives = tuple(
            Alternative(candidates.facts[m].id, quality[i], cost[i], utility[i], candidates.is_prior[m])
            for i, m in enumerate(order)
        )
        best, weight = alternatives[0], float(self.weights[row])
        return Decision(
            query=self.queries[row],
            model=best.model,
            pool=self.pool,
            dial=float(self.dials[row]),
            quality=best.quality,
            cost_usd=best.cost_usd,
            utility=best.utility,
            prior=best.prior,
            alternatives=alternatives[:top],
            capabilities=strongest(self.taxonomy.capabilities, capability),
            domains=strongest(self.taxonomy.domains, knowledge),
            difficulty=difficulty[int(candidates.protocol[order[0]])],
            level=min(max(level, 1.0), 5.0),
            familiarity=familiarity,
            reasons=self._explain(vector, order, alternatives, weight) if len(order) > 1 else None,
            goal=self.goal and self.goal.met_at(weight),
            price_date=candidates.facts[order[0]].price_date,
            flagged=self.flagged[row],
        )

    def _explain(
        self, vector: Array, order: list[int], alternatives: tuple[Alternative, ...], weight: float
    ) -> Reasons:
        """Split the lead of the first over the second: a term per named axis, bias, residual, prototypes, cost."""
        candidates, size = self.candidates, self.prediction.query.size
        first, second = order[:2]
        share = host(vector * (candidates.profile[first] - candidates.profile[second]))
        bias = float(candidates.bias[first] - candidates.bias[second])
        named = [*share[: size.named].tolist(), float(share[size.columns :].sum())]
        finite = weight != float("inf")
        quality = alternatives[0].quality - alternatives[1].quality
        cost = alternatives[0].cost_usd - alternatives[1].cost_usd
        return Reasons(
            runner_up=alternatives[1].model,
            lead_logit=float(share.sum()) + bias,
            axes=Contributions(self.axes, named),
            bias=bias,
            other=float(share[size.named : size.learned].sum()),
            prototypes=float(share[size.learned : size.columns].sum()),
            lead_utility=alternatives[0].utility - alternatives[1].utility,
            quality_term=quality if finite else 0.0,
            cost_term=-weight * cost if finite else -cost,
        )


def contributing(taxonomy: Taxonomy) -> tuple[tuple[str, str], ...]:
    """Name and kind of each axis whose share of a lead is reported, in the vector's order, difficulty last."""
    capabilities = [(name, "capability") for name in taxonomy.capabilities]
    domains = [(name, "knowledge") for name in taxonomy.domains]
    return (*capabilities, *domains, ("difficulty", "difficulty"))
