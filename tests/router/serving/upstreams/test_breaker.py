"""Circuit breakers and load, on a clock that the test moves."""

from __future__ import annotations

from itertools import pairwise

import pytest

from router.serving.upstreams.breaker import Breaker
from router.serving.upstreams.load import Load


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed(breaker.enter())


def test_failures_in_a_row_open_it_and_a_success_between_does_not(clock: Clock) -> None:
    breaker = Breaker(failures=3, open_s=5, clock=clock)
    fail(breaker, 2)
    breaker.succeeded(breaker.enter())
    fail(breaker, 2)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert (breaker.state, breaker.admits(), breaker.wait_s) == ("open", False, 5.0)


def test_half_of_the_last_twenty_open_it(clock: Clock) -> None:
    breaker = Breaker(failures=100, clock=clock)
    for number in range(19):
        (breaker.failed if number % 2 == 0 else breaker.succeeded)(breaker.enter())
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"


def answer(breaker: Breaker, pattern: str) -> None:
    """A success for each +, a failure for each -."""
    for sign in pattern:
        (breaker.succeeded if sign == "+" else breaker.failed)(breaker.enter())


@pytest.mark.parametrize(
    ("pattern", "state"),
    [
        ("+-" * 10, "open"),  # ten of twenty
        ("+-" * 9 + "++", "closed"),  # nine of twenty
        ("-" + "+-" * 9 + "+" * 4 + "-", "closed"),  # nine of the last twenty
        ("+" * 20 + "-+" * 9 + "+-", "open"),  # ten of them, however many succeeded before
    ],
)
def test_only_the_last_twenty_are_looked_at(pattern: str, state: str, clock: Clock) -> None:
    breaker = Breaker(failures=100, clock=clock)
    answer(breaker, pattern)
    assert breaker.state == state


def test_five_failures_open_it_for_five_seconds_by_default(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    answer(breaker, "----")
    assert breaker.state == "closed"
    answer(breaker, "-")
    assert breaker.wait_s == 5.0


def test_who_does_not_say_so_was_no_probe(clock: Clock) -> None:
    breaker = Breaker(failures=1, open_s=5, clock=clock)
    breaker.failed()
    clock.now += 5
    assert breaker.enter()
    breaker.left()
    breaker.failed()
    breaker.succeeded()
    assert (breaker.state, breaker.admits()) == ("half_open", False)  # all the same: the probe is still under way


def test_a_closed_breaker_knows_nothing_of_the_time_before(clock: Clock) -> None:
    breaker = Breaker(failures=2, open_s=5, clock=clock)
    fail(breaker, 2)
    for wait in (5.0, 10.0):
        assert breaker.wait_s == wait
        clock.now += wait
        fail(breaker, 1)
    clock.now += 60
    answer(breaker, "+")
    fail(breaker, 1)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert (breaker.state, breaker.wait_s) == ("open", 5.0)
    clock.now += 5
    assert breaker.enter()  # and may probe again


def test_failures_while_it_is_open_do_not_lengthen_the_wait(clock: Clock) -> None:
    breaker = Breaker(failures=2, open_s=5, clock=clock)
    fail(breaker, 2)
    clock.now += 1
    fail(breaker, 30)  # of requests that were under way
    assert breaker.wait_s == 4.0
    clock.now += 4
    answer(breaker, "+")
    fail(breaker, 1)
    assert breaker.state == "closed"


def test_nobody_waits_for_a_breaker_whose_time_is_over_until_a_probe_is_under_way(clock: Clock) -> None:
    breaker = Breaker(failures=1, open_s=5, clock=clock)
    fail(breaker, 1)
    clock.now += 7
    assert breaker.wait_s == 0.0
    breaker.enter()
    assert breaker.wait_s == 5.0


def test_a_short_retry_after_does_not_shorten_the_wait(clock: Clock) -> None:
    breaker = Breaker(failures=1, open_s=5, clock=clock)
    fail(breaker, 1)
    breaker.failed(retry_after_s=2.0)
    assert breaker.wait_s == 5.0
    breaker.failed(retry_after_s=300.0)
    assert breaker.wait_s == 300.0  # however long


def test_a_first_wait_that_is_set_anew_holds_from_the_next_opening(clock: Clock) -> None:
    breaker = Breaker(failures=1, open_s=5, clock=clock)
    fail(breaker, 1)
    clock.now += 5
    breaker.open_s = 8
    fail(breaker, 1)
    assert breaker.wait_s == 16.0


def test_a_thousand_probes_that_fail_wait_a_minute_each(clock: Clock) -> None:
    breaker = Breaker(failures=1, open_s=5, clock=clock)
    for _ in range(1100):
        breaker.failed(probe=breaker.enter())
        clock.now += breaker.wait_s
    fail(breaker, 1)
    assert breaker.wait_s == 60.0


def test_what_was_passed_on_is_counted_apart(clock: Clock) -> None:
    breaker = Breaker(failures=3, clock=clock)
    fail(breaker, 2)
    breaker.failed(passed_on=True)
    breaker.succeeded(passed_on=True)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open", "a success of what was passed on made up for a routed failure"
    breaker = Breaker(failures=3, clock=clock)
    for _ in range(3):
        breaker.succeeded()
        breaker.failed(passed_on=True)
    assert breaker.state == "open"


def test_one_probe_passes_and_decides(clock: Clock) -> None:
    breaker = Breaker(failures=1, open_s=5, clock=clock)
    fail(breaker, 1)
    clock.now += 5
    assert (breaker.state, breaker.admits()) == ("half_open", True)
    probe = breaker.enter()
    assert probe
    assert not breaker.admits()
    assert breaker.wait_s > 0
    assert not breaker.enter()  # somebody who asks all the same is no probe
    breaker.succeeded(probe=probe)
    assert (breaker.state, breaker.admits(), breaker.wait_s) == ("closed", True, 0.0)


def test_a_probe_that_fails_doubles_the_wait_up_to_a_minute(clock: Clock) -> None:
    breaker = Breaker(failures=1, open_s=5, clock=clock)
    fail(breaker, 1)
    waits = []
    for _ in range(5):
        waits.append(breaker.wait_s)
        clock.now += breaker.wait_s
        fail(breaker, 1)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0]


def test_a_probe_whose_client_left_lets_the_next_one_try(clock: Clock) -> None:
    breaker = Breaker(failures=1, clock=clock)
    fail(breaker, 1)
    clock.now += 5
    breaker.left(breaker.enter())
    assert breaker.admits()


def test_retry_after_opens_it_at_once_for_as_long(clock: Clock) -> None:
    breaker = Breaker(failures=5, clock=clock)
    breaker.failed(breaker.enter(), retry_after_s=90.0)
    assert (breaker.state, breaker.wait_s) == ("open", 90.0)
    breaker.succeeded(False)  # of one that was under way
    assert breaker.state == "open"
    clock.now += 90
    assert breaker.admits()


def test_pressure_grows_smoothly_with_requests_in_flight_and_falls_with_them(clock: Clock) -> None:
    load = Load({"concurrency": 10}, clock)
    seen = [load.pressure()]
    for _ in range(30):
        load.started()
        seen.append(load.pressure())
    assert seen[0] == 0
    assert seen == sorted(seen)
    assert seen[10] == pytest.approx(0.5)
    assert seen[30] == pytest.approx(0.9)
    assert max(b - a for a, b in pairwise(seen)) < 0.08
    for _ in range(30):
        load.ended()
    assert load.pressure() == 0


def test_slow_answers_press_until_quick_ones_or_time_make_them_forgotten(clock: Clock) -> None:
    load = Load({"latency_s": 2}, clock)

    def answer(seconds: float) -> None:
        load.started()
        load.ended(seconds)

    answer(2.0)
    assert load.pressure() == pytest.approx(0.5)
    for _ in range(8):
        answer(0.0)
    assert load.latency() == pytest.approx(1.0)
    clock.now += 60
    assert load.latency() == pytest.approx(0.5)
    clock.now += 600
    assert load.pressure() < 0.001


def test_a_rate_presses_and_passes(clock: Clock) -> None:
    load = Load({"requests_per_minute": 10}, clock)
    for _ in range(10):
        load.started()
        load.ended()
    assert load.pressure() == pytest.approx(0.5)
    clock.now += 120
    assert load.pressure() < 0.05


def test_tokens_press_and_pass_where_they_are_limited(clock: Clock) -> None:
    load, unlimited = Load({"tokens_per_minute": 1000}, clock), Load({}, clock)
    for each in (load, unlimited):
        each.spent(600)
        each.spent(400)
    assert load.pressure() == pytest.approx(0.5)
    assert unlimited.pressure() == 0
    clock.now += 120
    assert load.pressure() < 0.05
