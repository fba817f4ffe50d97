"""Lanes and pace: turns of clients and sizes of pieces, on a clock that the test moves."""

from __future__ import annotations

import pytest

from router.errors import QueueFullError
from router.serving.lanes import FIRST, LONGEST_S, QUIET_AFTER_S, Job, Lane, Pace


def job(client: str, count: int = 1) -> Job:
    return Job(client, ["x"] * count)


def test_clients_take_turns_and_each_clients_jobs_keep_their_order() -> None:
    lane: Lane[Job] = Lane(100)
    jobs = [job("a"), job("a"), job("a"), job("b"), job("c"), job("b")]
    for each in jobs:
        lane.put(each)
    taken = [lane.take() for _ in jobs]
    assert [jobs.index(each) for each in taken] == [0, 3, 4, 1, 5, 2]
    assert not lane and lane.queries == 0


def test_a_job_that_is_put_back_is_its_clients_next_after_all_others_had_their_turn() -> None:
    lane: Lane[Job] = Lane(100)
    long, later, other = job("a", 3), job("a"), job("b")
    for each in (long, later, other):
        lane.put(each)
    order = []
    for _ in range(3):
        order.append(lane.take())
        if order[-1] is long:
            lane.put_back(long)
    assert order == [long, other, long]
    assert lane.queries == 4


def test_a_full_lane_refuses_but_takes_one_job_of_any_size_and_forgets_who_left() -> None:
    lane: Lane[Job] = Lane(4)
    large = job("a", 9)
    lane.put(large)
    with pytest.raises(QueueFullError, match="9 queries wait already, of at most 4"):
        lane.put(job("b"))
    large.future.cancel()
    small = job("b", 4)
    lane.put(small)
    assert (lane.queries, lane.take()) == (4, small)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_piece_takes_at_most_two_idle_decisions_while_single_queries_come_and_more_otherwise() -> None:
    clock = Clock()
    pace = Pace(32, clock)
    for seconds in (0.5, 0.01, 0.01, 0.012, 0.008):  # the first is one that gathers a pool
        pace.took(seconds)
    assert pace.size(None) == FIRST
    assert pace.size(0.005) == 32
    assert pace.size(0.05) == LONGEST_S / 0.05 == 5
    pace.asked()
    clock.now += QUIET_AFTER_S - 0.1
    assert pace.bound_s == 0.02
    assert [pace.size(query_s) for query_s in (None, 0.001, 0.003, 0.01, 0.5)] == [1, 20, 6, 2, 1]
    clock.now += 0.1
    assert pace.size(0.005) == 32


def test_the_newest_decisions_tell_how_long_an_idle_one_takes() -> None:
    clock = Clock()
    pace = Pace(1000, clock)
    pace.asked()
    assert pace.size(0.001) == 10, "before any was measured"
    for _ in range(40):
        pace.took(0.1)
    for _ in range(40):
        pace.took(0.02)
    assert pace.size(0.001) == 40
