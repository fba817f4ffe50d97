"""The price-class prior of a model without a profile, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from router.network.vectors import LearnedProfiles
from router.policy.candidates import PRIOR_BANDWIDTH, gather_candidates
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool

PRICES = {"cheap": 1.0, "double": 2.0, "fourfold": 4.0, "unpriced": None}
SYSTEMS = tuple(System(name, "chat") for name in PRICES)
FACTS = {name: ModelFacts(name, price, price) for name, price in PRICES.items()}


def priors(price: float) -> np.ndarray:
    """Weights (4,) that a model of this price without a profile has on the known ones: it is made of unit rows."""
    rows, zeros = np.eye(4), np.zeros(4)
    table = LearnedProfiles(rows, zeros, zeros, zeros, np.zeros(4, np.int64), zeros, zeros, zeros, 1)
    pool = Pool("p", (Candidate(ModelFacts("new", price, price)),))
    found: np.ndarray = gather_candidates(pool, table, SYSTEMS, FACTS).profile[0, :4]
    return found


@pytest.mark.parametrize(("price", "away"), [(1.0, [0, 1, 2]), (2.0, [1, 0, 1]), (4.0, [2, 1, 0]), (0.25, [2, 3, 4])])
def test_a_model_of_another_price_weighs_as_a_normal_in_the_log_of_the_price(price: float, away: list[int]) -> None:
    assert pytest.approx(np.log(2)) == PRIOR_BANDWIDTH  # so a doubling is one standard deviation
    expected = np.exp(-0.5 * np.square(away))
    assert priors(price) == pytest.approx([*(expected / expected.sum()), 0.0])
