"""Votes between two models as outcomes of each: strengths by Bradley and Terry's model, then what a vote says of both.

Pure numpy. Axes: V votes, M models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROUNDS = 1000
SETTLED = 1e-8
PRIOR_VOTES = 1.0  # against an average model, half of them won: no model is beyond all others


def strengths(first: NDArray[np.intp], second: NDArray[np.intp], won: Array, models: int) -> Array:
    """(M,) strengths whose ratios are the odds of winning, by the MM algorithm (Hunter 2004, Annals of Statistics).

    Vote v is between models `first[v]` and `second[v]`, and `won[v]` is 1 where the first won, 0.5 for a tie. The
    geometric mean of the strengths is 1.

    >>> one, other = np.zeros(4, int), np.ones(4, int)
    >>> strengths(one, other, np.array([1.0, 1.0, 1.0, 0.0]), 2).round(2).tolist()
    [1.61, 0.62]
    """
    wins = np.full(models, PRIOR_VOTES / 2)
    np.add.at(wins, first, won)
    np.add.at(wins, second, 1 - won)
    met: Array = np.zeros((models, models))
    np.add.at(met, (first, second), 1.0)
    met += met.T
    strength = np.ones(models)
    for _ in range(ROUNDS):
        expected = (met / (strength[:, None] + strength[None, :])).sum(axis=1) + PRIOR_VOTES / (strength + 1)
        new = wins / expected
        new /= np.exp(np.log(new).mean())
        moved = float(np.abs(np.log(new / strength)).max())
        strength = new
        if moved < SETTLED:
            break
    return strength


def outcomes(one: Array, other: Array, won: Array) -> tuple[Array, Array]:
    """(V,) scores of the two models of each vote: the chance to have beaten an average model (strength 1) too.

    In Luce's model, of which Bradley and Terry's is the case of two, the winner of a pair also beats a third with
    probability (a + b) / (a + b + 1), and the loser i does with i (a + b) / ((a + b + 1) (i + 1)). So beating a strong
    model says more than beating a weak one, and a model's scores average to its own chance against the average model,
    whatever it was matched with. A tie is half of each.

    >>> better, worse = outcomes(np.array([1.0]), np.array([1.0]), np.array([1.0]))
    >>> round(float(better[0]), 3), round(float(worse[0]), 3)
    (0.667, 0.333)
    """
    both = one + other
    winner = both / (both + 1)

    def loser(strength: Array) -> Array:
        return strength * winner / (strength + 1)

    return won * winner + (1 - won) * loser(one), (1 - won) * winner + won * loser(other)
