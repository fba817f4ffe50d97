"""Risk control: the cheapest setting whose mean loss against a reference is provably small (Learn then Test).

Learn then Test (Angelopoulos et al., 2110.01052) tests "setting p loses more than the limit on average" for each
setting, and keeps those for which a valid p-value rejects it. Pure numpy; it does not know dials or routers. Axes: P
settings from the safest to the cheapest, B queries.
"""

import math

import numpy as np

from router.errors import UsageError
from router.evaluation.metrics import Array

MOST_STAKED = 0.75  # largest share of the capital on one query, so that no single loss ruins a bet


def p_value(loss: Array, limit: float, level: float) -> float:
    """p-value of "the mean loss is above `limit`" for losses (B,) in [-1, 1] of queries drawn alike, in random order.

    A gambler stakes a share of a capital of 1 on each query losing less than `limit`: the capital becomes the product
    of `1 + bet * (limit - loss)`, where each bet depends on the queries before it alone. If the mean loss is above the
    limit no bet is favourable, so the capital exceeds 1/p with probability at most p, whatever the number of queries
    and the distribution (Ville's inequality; Waudby-Smith & Ramdas, 2010.09686, whose bets for a test at `level` these
    are). Hoeffding-Bentkus, the usual choice, uses only that the losses are bounded. The bets also use their variance,
    which is small for two routes that differ on few queries. A paired t-test would need normality of the mean.

    >>> p_value(np.zeros(1000), 0.01, 0.1) < 0.01, p_value(np.full(1000, 0.02), 0.01, 0.1)
    (True, 1.0)
    """
    gain, count = limit - loss, np.arange(1, len(loss) + 1)
    mean = gain.cumsum() / (count + 1)
    variance = (0.25 + ((gain - mean) ** 2).cumsum()) / (count + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    bet = np.minimum(np.sqrt(2 * math.log(1 / level) / (len(loss) * before)), MOST_STAKED / (1 - limit))
    capital = np.log1p(bet * gain).cumsum()
    return math.exp(-max(0.0, float(capital.max())))


def cheapest_safe(loss: Array, limit: float, level: float, seed: int = 0) -> int | None:
    """The last setting p of losses (P, B) such that p and all before it pass the test; None if the first one fails.

    The mean loss of p is above `limit` with probability at most `level`. Settings are tested one after the other, each
    at the full level, until one fails. In such a fixed sequence only the first false rejection counts, so that no
    correction for their number is needed. The first setting is tested too, since even the safest one may lose against
    the reference. Queries are shuffled by `seed` first, because folders list them by benchmark.

    Raises:
        UsageError: losses outside [-1, 1], a limit outside [0, 1) or a level outside (0, 1).

    >>> cheapest_safe(np.repeat([[0.0], [0.001], [0.5], [0.0]], 1000, axis=1), 0.01, 0.1)
    1
    """
    if not 0 <= limit < 1 or not 0 < level < 1:
        raise UsageError(f"the loss allowed must lie in [0, 1) and the error level in (0, 1), got {limit} and {level}")
    if not loss.size or not (np.abs(loss) <= 1).all():
        raise UsageError(
            f"losses must be differences of scores in [0, 1] on at least one query, got shape {loss.shape}"
        )
    shuffled = loss[:, np.random.default_rng(seed).permutation(loss.shape[1])]
    passed = None
    for setting, row in enumerate(shuffled):
        if p_value(row, limit, level) > level:
            break
        passed = setting
    return passed
