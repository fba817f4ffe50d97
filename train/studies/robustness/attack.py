"""Attack test: an adversarial suffix found on training queries, tried on others, guard off and on.

Axes: B queries, M candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.arrays import host
from router.pools.pool import Pool
from router.routing.router import Router
from train.studies.robustness.flips import cost_shift
from train.studies.robustness.gadgets import Aim, GadgetSearch, Search, expected_cost, lead, with_suffix
from train.studies.robustness.sample import Sample

AIMS = ("dearest", "cost")  # raise the most expensive model's lead, or the cost of the choice


def gadget_figures(
    router: Router,
    pool: Pool,
    sample: Sample,
    dial: float,
    aim: str,
    search: Search,
    adaptive: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """The gadget found for `aim` on the attacker's texts, and its effect on the sample, without and with the guard.

    `adaptive`: the attacker knows the guard and searches against it. Cost shifts are as in `flip_figures`.
    """
    predicted = host(router.predict(sample.texts, pool).cost_usd).astype(np.float64)
    costs = (predicted, sample.outcomes.realised_usd)
    dearest = int(predicted.mean(axis=0).argmax())
    raised: Aim = expected_cost if aim == "cost" else lambda utility, _: lead(utility, dearest)
    gadget = GadgetSearch(router, pool, dial, raised, search, guard=adaptive).find(sample.attacker, progress)
    attacked = [with_suffix(text, gadget) for text in sample.texts]
    before, _ = routes(router, pool, sample.texts, dial, guard=False)
    figures = {
        "gadget": gadget,
        "dearest": pool.ids[dearest],
        "dial": dial,
        "n": len(before),
        "to_dearest_before": float((before == dearest).mean()),
    }
    for name, guard in (("guard_off", False), ("guard_on", True)):
        after, flagged = routes(router, pool, attacked, dial, guard)
        shifts = [cost_shift(before, after, cost, router.candidates(pool).cost_range_usd) for cost in costs]
        figures[name] = {
            "to_dearest": float((after == dearest).mean()),
            "moved": float((after != before).mean()),
            "predicted_cost_shift": shifts[0],
            "realised_cost_shift": shifts[1],
            "flagged": float(flagged.mean()),
        }
    return figures


def wrongly_flagged(router: Router, pool: Pool, texts: Sequence[str], dial: float) -> float:
    """Share of ordinary `texts` that the guard flags."""
    return float(routes(router, pool, texts, dial, guard=True)[1].mean())


def routes(
    router: Router, pool: Pool, texts: Sequence[str], dial: float, guard: bool
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Columns (B,) of the models that the texts are routed to, and whether each decision is flagged (B,)."""
    decisions = router.route(texts, pool=pool, dial=dial, guard=guard, top=1)
    columns = [pool.ids.index(decision.model) for decision in decisions]
    return np.array(columns), np.array([decision.flagged is not None for decision in decisions])
