"""Learn then Test on losses whose mean is known: valid where it must be, and not blind where it need not be."""

from __future__ import annotations

import numpy as np
import pytest

from router.errors import UsageError
from router.evidence import risk
from router.evidence.risk import cheapest_safe, p_value


def drawn(mean: float, differing: float, count: int, generator: np.random.Generator) -> np.ndarray:
    """Losses in {-1, 0, 1} with that mean, a share of them not 0."""
    lost, won = (differing + mean) / 2, (differing - mean) / 2
    return generator.choice([1.0, -1.0, 0.0], count, p=[lost, won, 1 - differing])


def bet_by_bet(loss: np.ndarray, limit: float, level: float) -> float:
    """What `p_value` should be, one query after the other: each bet knows the ones before it alone."""
    capital, gains, best = 1.0, [], 1.0
    for each in loss:
        seen, mean, square = len(gains), 0.0, 0.25
        for number, gain in enumerate(gains, 1):
            mean = sum(gains[:number]) / (number + 1)
            square += (gain - mean) ** 2
        wanted = np.sqrt(2 * np.log(1 / level) / (len(loss) * square / (seen + 1)))
        gains.append(limit - each)
        capital *= 1 + min(wanted, 0.75 / (1 - limit)) * gains[-1]
        best = max(best, capital)
    return 1 / best


@pytest.mark.parametrize(("count", "limit", "level"), [(3, 0.1, 0.2), (40, 0.1, 0.2), (60, 0.0, 0.05), (60, 0.3, 0.6)])
def test_the_capital_is_the_product_of_what_the_bets_return(count: int, limit: float, level: float) -> None:
    generator = np.random.default_rng(count)
    loss = np.concatenate([[0.0, -1.0, 0.5], generator.uniform(-1, 0.6, count - 3)])
    assert p_value(loss, limit, level) == pytest.approx(bet_by_bet(loss, limit, level))


def test_the_bet_on_a_query_never_hangs_on_its_own_outcome() -> None:
    """A bet that did could shrink before each loss, and nothing would be guaranteed.

    The last capital is the one before times 1 + bet x gain: where the bet was made before, a straight line in the gain.
    """
    before = np.tile([0.5, -0.5, 0.2, -1.0], 12)  # wins: the last capital is the greatest, which the p-value tells
    all_, half, none = (1 / p_value(np.append(before, last), 0.05, 0.2) for last in (-1.0, -0.5, 0.0))
    assert all_ > half > none > 1
    assert all_ - half == pytest.approx(half - none, rel=1e-9)


@pytest.mark.parametrize(("limit", "differing"), [(0.0, 0.3), (0.01, 0.05), (0.01, 0.4), (0.1, 1.0)])
def test_a_loss_at_the_limit_is_rejected_no_more_often_than_the_level_allows(limit: float, differing: float) -> None:
    generator = np.random.default_rng(0)
    wrong = [p_value(drawn(limit, differing, 400, generator), limit, 0.1) <= 0.1 for _ in range(800)]
    assert np.mean(wrong) <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 800)


def test_the_bound_holds_for_losses_that_are_rare_and_great() -> None:
    generator = np.random.default_rng(1)
    wrong = [
        p_value(np.where(generator.uniform(size=300) < 0.02, 1.0, 0.0), 0.02, 0.1) <= 0.1 for _ in range(800)
    ]  # most samples of a normal mean would look safer than they are
    assert np.mean(wrong) <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 800)


def test_what_is_clearly_safe_is_found_safe() -> None:
    generator = np.random.default_rng(2)
    found = [p_value(drawn(-0.04, 0.3, 1000, generator), 0.01, 0.1) <= 0.1 for _ in range(100)]
    assert np.mean(found) > 0.7
    assert p_value(np.zeros(500), 0.01, 0.1) < 0.05  # the reference itself


def test_more_loss_never_has_a_smaller_p_value() -> None:
    generator = np.random.default_rng(3)
    low = drawn(-0.05, 0.3, 500, generator)
    assert p_value(low, 0.01, 0.1) < p_value(low + 0.03 * (low == 0), 0.01, 0.1)
    assert p_value(np.full(500, 0.5), 0.01, 0.1) == 1.0


def test_testing_stops_at_the_first_setting_that_fails_and_nothing_is_safe_where_the_first_does() -> None:
    good, bad = np.zeros(1000), np.full(1000, 0.1)
    assert cheapest_safe(np.stack([good, good, bad, good]), 0.01, 0.1) == 1
    assert cheapest_safe(np.stack([good] * 3), 0.01, 0.1) == 2
    assert cheapest_safe(np.stack([bad, good]), 0.01, 0.1) is None


def test_a_sequence_of_settings_at_the_limit_is_wrong_no_more_often_than_the_level_allows() -> None:
    generator = np.random.default_rng(4)
    wrong = [
        cheapest_safe(np.stack([drawn(0.011, 0.3, 300, generator) for _ in range(8)]), 0.01, 0.1) is not None
        for _ in range(400)
    ]
    assert np.mean(wrong) <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 400)


def test_a_setting_passes_at_a_p_value_of_just_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk, "p_value", lambda loss, limit, level: loss[0])
    assert cheapest_safe(np.array([[0.05], [0.1], [0.11]]), 0.01, 0.1) == 1


def test_the_order_of_the_queries_is_drawn_by_the_seed_and_the_seed_is_0_where_none_is_given() -> None:
    losses = np.repeat([[-1.0, 1.0, 0.0]], [16, 6, 60], axis=1)
    found = [cheapest_safe(losses, 0.01, 0.1, seed) for seed in range(20)]
    assert cheapest_safe(losses, 0.01, 0.1) == found[0]
    assert found[0] != found[1], found
    assert found == [cheapest_safe(losses, 0.01, 0.1, seed) for seed in range(20)]


def test_queries_listed_by_benchmark_are_shuffled_alike_for_every_setting() -> None:
    losses = np.stack([np.repeat([-1.0, 1.0, 0.0], [60, 40, 400])] * 2)
    assert cheapest_safe(losses, 0.01, 0.5, seed=1) in (None, 1)  # equal settings pass or fail together


@pytest.mark.parametrize(
    ("loss", "limit", "level", "message"),
    [
        (np.zeros((1, 5)), -0.1, 0.1, r"got -0\.1 and 0\.1"),
        (np.zeros((1, 5)), 1.0, 0.1, r"got 1\.0 and 0\.1"),
        (np.zeros((1, 5)), 1.5, 0.1, r"got 1\.5 and 0\.1"),
        (np.zeros((1, 5)), 0.01, 1.0, r"got 0\.01 and 1\.0"),
        (np.zeros((1, 5)), 0.01, 1.5, r"got 0\.01 and 1\.5"),
        (np.zeros((1, 5)), 0.01, 0.0, r"got 0\.01 and 0\.0"),
        (np.zeros((1, 5)), 0.01, -0.1, r"got 0\.01 and -0\.1"),
        (np.full((1, 5), 1.5), 0.01, 0.1, "differences of scores"),
        (np.full((1, 5), np.nan), 0.01, 0.1, "differences of scores"),
        (np.zeros((1, 0)), 0.01, 0.1, r"at least one query, got shape \(1, 0\)"),
    ],
)
def test_what_is_no_loss_limit_or_level_is_refused(loss: np.ndarray, limit: float, level: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cheapest_safe(loss, limit, level)
