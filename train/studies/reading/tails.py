"""Cost of what is chosen for queries with an end that asks for nothing, and for two tasks in one, the guard on.

Axes: B queries.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from router.evaluation.metrics import Array
from router.policy.decision import Decision
from router.pools.pool import Pool
from router.routing.request import Request
from router.routing.router import Router
from train.studies.reading.figures import Figure, measured, ratio
from train.studies.reading.texts import read, written

RISE = 0.05  # of the mean cost
PART = "tails"
APART = 31  # lines between the two tasks of one query: of other kinds, as the queries are in order of difficulty


def tail_figures(router: Router, pools: Iterable[Pool], dials: Sequence[float]) -> list[Figure]:
    """Rise of the mean cost by pool, dial and tail, and over the dearer of two tasks where both are asked in one query.

    The cost is predicted for the text as sent; of a tail also for the query alone, and that has the bar: the tokens of
    a tail cost something whatever is chosen, with a short query half as much again.
    """
    queries, tails = written("translations")["en"], written("tails")
    b = len(queries)
    both = [f"{a}\n\n{other}" for a, other in zip(queries, [*queries[APART:], *queries[:APART]], strict=True)]
    texts = [*queries, *both, *(query + tail for tail in tails.values() for query in queries)]
    reading = router.pipeline.read(texts, Request.read(router.pool, guard=True))
    plain_read = read(router, queries)
    figures = []
    for pool in pools:
        alone = plain_read.in_pool(router, pool).cost
        for dial in dials:
            decisions = router.pipeline.decide(reading, Request.read(router.pool, pool=pool, dial=dial, guard=True))
            cost = np.array([each.cost_usd for each in decisions]).reshape(-1, b)
            where: dict[str, Any] = {"better": -1, "pool": pool.name}
            title, dearer = f"second task over the dearer, dial {dial:g}", np.maximum(cost[0], np.roll(cost[0], -APART))
            figures.append(measured(PART, title, ratio, cost[1], dearer, bar=RISE, **where))
            of_query = chosen_cost(alone, pool, decisions).reshape(-1, b)
            for row, tail in enumerate(tails, start=2):
                for name, costs, bar in (("as sent", cost, None), ("of the query alone", of_query, RISE)):
                    title = f"mean cost {name}, dial {dial:g}"
                    figures.append(measured(PART, title, ratio, costs[row], costs[0], bar=bar, note=tail, **where))
    return figures


def chosen_cost(cost: Array, pool: Pool, decisions: Sequence[Decision]) -> Array:
    """Costs of the decided models under `cost` (B, M) of the models; decisions go through the queries in turn."""
    column = {model: place for place, model in enumerate(pool.ids)}
    columns = np.array([column[each.model] for each in decisions])
    return cost[np.arange(len(columns)) % len(cost), columns]
