"""A batch of ranked queries as tensors, and the decisions written from it: who was chosen, and why.

A lead is split into terms that add up. Chooses nothing, and hands the queries on without reading them.
Axes: B queries, M candidates, D vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from router.candidates import Candidates, Prediction
from router.decision import Alternative, Contribution, Decision, Reasons, strongest
from router.goal import Goal
from router.network import Dimensions
from router.taxonomy import Taxonomy


@dataclass(frozen=True)
class Ranked:
    """What the decisions of B queries are written from."""

    pool: str
    candidates: Candidates
    taxonomy: Taxonomy
    size: Dimensions
    seen: Prediction
    utility: Tensor  # (B, M)
    dials: Tensor  # (B,)
    weights: Tensor  # (B,) quality per USD
    order: list[list[int]]  # of each query its admitted candidates, the chosen one first, at least two where there are
    goal: Goal | None
    flagged: list[str | None]  # (B,) the tails that the guard left out
    corrected: list[dict[str, str]]  # (B,) mistyped words and what they were read as

    def decisions(self, queries: Sequence[str], top: int) -> list[Decision]:
        """One per query, with at most `top` alternatives."""
        # Off the device, and out of tensors where all is read, once for the whole batch.
        columns = [part.tolist() for part in (self.seen.quality, self.seen.cost_usd, self.utility)]
        query = self.seen.query
        vector = query.vector
        needs = [part.tolist() for part in (query.capability, query.knowledge, query.difficulty)]
        return [
            self._decision(
                row, text, [values[row] for values in columns], [values[row] for values in needs], vector[row], top
            )
            for row, text in enumerate(queries)
        ]

    def _decision(
        self, row: int, text: str, columns: list[list[float]], needs: list[list[float]], vector: Tensor, top: int
    ) -> Decision:
        candidates, order = self.candidates, self.order[row]
        quality, cost, utility = columns
        capability, knowledge, difficulty = needs
        alternatives = tuple(
            Alternative(candidates.facts[m].id, quality[m], cost[m], utility[m], candidates.is_prior[m]) for m in order
        )
        best, weight = alternatives[0], float(self.weights[row])
        return Decision(
            query=text,
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
            reasons=self._explain(vector, order, alternatives, weight) if len(order) > 1 else None,
            goal=self.goal and self.goal.met_at(weight),
            flagged=self.flagged[row],
            corrected=self.corrected[row],
        )

    def _explain(
        self, vector: Tensor, order: list[int], alternatives: tuple[Alternative, ...], weight: float
    ) -> Reasons:
        """Split the lead of the first over the second: a term per named axis, bias, residual, prototypes, cost."""
        candidates, size = self.candidates, self.size
        first, second = order[:2]
        share = vector * (candidates.profile[first] - candidates.profile[second])
        bias = float(candidates.bias[first] - candidates.bias[second])
        named = [
            Contribution(axis, "capability" if i < size.capabilities else "knowledge", value)
            for i, (axis, value) in enumerate(zip(self.taxonomy.axes, share[: size.named].tolist(), strict=True))
        ]
        named.append(Contribution("difficulty", "difficulty", float(share[size.columns :].sum())))
        finite = weight != float("inf")
        quality = alternatives[0].quality - alternatives[1].quality
        cost = alternatives[0].cost_usd - alternatives[1].cost_usd
        return Reasons(
            runner_up=alternatives[1].model,
            lead_logit=float(share.sum()) + bias,
            axes=tuple(sorted(named, key=lambda c: -abs(c.logit))),
            bias=bias,
            other=float(share[size.named : size.learned].sum()),
            prototypes=float(share[size.learned : size.columns].sum()),
            lead_utility=alternatives[0].utility - alternatives[1].utility,
            quality_term=quality if finite else 0.0,
            cost_term=-weight * cost if finite else -cost,
        )
