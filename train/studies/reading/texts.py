"""Texts read once by a router, and what it then predicts and chooses in any of its pools.

Axes: B queries, M candidates, C capabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from router.arrays import host, like
from router.evaluation.metrics import Array
from router.evaluation.pool_report import first_tasks
from router.network.vectors import QueryVectors
from router.options import CHARS_PER_TOKEN
from router.policy.constraints import cost_weights
from router.pools.pool import Pool
from router.routing.router import Router
from train.studies.robustness.flips import choices


@dataclass(frozen=True)
class InPool:
    """Predictions for B queries in a pool of M candidates."""

    quality: Array  # (B, M)
    cost: Array  # (B, M) in USD
    cost_range: float

    def chosen(self, dial: float) -> NDArray[np.intp]:
        """Columns (B,) chosen at `dial`."""
        return choices(self.quality, self.cost, dial, self.cost_range)

    def utility(self, dial: float) -> Array:
        """Quality less weighted cost (B, M) at `dial`, which is below 10."""
        return self.quality - cost_weights(dial, len(self.cost), self.cost_range)[1][:, None] * self.cost

    def rows(self, rows: slice) -> "InPool":
        """The predictions of some of the queries."""
        return InPool(self.quality[rows], self.cost[rows], self.cost_range)


@dataclass(frozen=True)
class Read:
    """B texts and their query vectors."""

    texts: Sequence[str]
    vectors: QueryVectors

    def in_pool(self, router: Router, pool: Pool) -> InPool:
        """What the router predicts in `pool`."""
        candidates = router.candidates(pool)
        tokens = like([len(text) / CHARS_PER_TOKEN for text in self.texts], self.vectors.difficulty)
        found = candidates.predict(self.vectors, tokens)
        quality, cost = (host(each).astype(np.float64) for each in (found.quality, found.cost_usd))
        return InPool(quality, cost, candidates.cost_range_usd)

    def first_capability(self, router: Router) -> NDArray[np.str_]:
        """The strongest capability (B,) other than multilingual."""
        return first_tasks(router.taxonomy.capabilities, host(self.vectors.capability))


def read(router: Router, texts: Sequence[str]) -> Read:
    """`texts` as the router reads them, without the guard."""
    return Read(texts, router.network.query_vectors(router.encoder.encode(texts)))


@cache
def written(name: str) -> Any:
    """The texts in `name`.yaml beside this file. They are shared: do not change them."""
    return yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8"))
