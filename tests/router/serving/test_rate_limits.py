"""Token buckets on a clock that the test moves."""

from __future__ import annotations

import pytest

from router.serving.client_keys import Key
from router.serving.rate_limits import PRUNE_FROM, RateLimits


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def key(name: str, requests_per_minute: int | None) -> Key:
    return Key(name, name, requests_per_minute, "2026-01-01")


def test_a_minutes_requests_may_come_at_once_and_then_one_as_each_token_returns(clock: Clock) -> None:
    limits, six = RateLimits(clock), key("a", 6)
    assert [limits.admit(six) for _ in range(6)] == [None] * 6
    assert limits.admit(six) == pytest.approx(10)
    clock.now += 4
    assert limits.admit(six) == pytest.approx(6)
    clock.now += 6
    assert limits.admit(six) is None
    assert limits.admit(six) == pytest.approx(10)
    clock.now += 1e6
    assert [limits.admit(six) for _ in range(7)].count(None) == 6  # rest does not pile up


def test_a_refused_request_costs_nothing(clock: Clock) -> None:
    limits, one = RateLimits(clock), key("a", 1)
    assert limits.admit(one) is None
    assert {limits.admit(one) for _ in range(100)} == {60.0}
    clock.now += 60
    assert limits.admit(one) is None


def test_a_request_may_count_as_many_and_costs_nothing_where_not_all_may_pass(clock: Clock) -> None:
    limits, sixty = RateLimits(clock), key("a", 60)
    assert limits.admit(sixty) is None
    assert limits.admit(sixty, 40, paid=1) is None
    assert limits.admit(sixty) is None  # 41
    assert limits.admit(sixty, 30, paid=1) == pytest.approx(10)  # of which the 41st is given back
    clock.now += 10
    assert limits.admit(sixty) is None
    assert limits.admit(sixty, 30, paid=1) is None
    assert limits.admit(sixty) == pytest.approx(1)


def test_over_a_long_time_the_rate_is_the_allowed_one(clock: Clock) -> None:
    limits, hundred = RateLimits(clock), key("a", 100)
    admitted = 0
    for _ in range(10_000):  # ten times as many as allowed, for ten minutes
        clock.now += 0.06
        admitted += limits.admit(hundred) is None
    assert 1000 <= admitted <= 1100


def test_keys_have_buckets_of_their_own_and_one_without_a_limit_needs_none(clock: Clock) -> None:
    limits = RateLimits(clock)
    assert limits.admit(key("a", 1)) is None
    assert limits.admit(key("b", 1)) is None
    assert limits.admit(key("a", 1)) is not None
    assert [limits.admit(key("c", None)) for _ in range(1000)] == [None] * 1000


def test_full_buckets_are_forgotten_and_empty_ones_are_not(clock: Clock) -> None:
    limits, busy = RateLimits(clock), key("busy", 1)
    for number in range(5 * PRUNE_FROM):
        clock.now += 1
        limits.admit(key(f"k{number}", 600))
        if number % 30 == 0:
            limits.admit(busy)
    assert len(limits._full_at) <= PRUNE_FROM + 1
    assert limits.admit(busy) is not None
