"""Engine: many callers, workers, batches, a bounded queue, cancellation, a swap of the router while queries wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from router.checkpoint.checkpoint import Checkpoint
from router.errors import EngineClosedError, NoCandidateError, QueryError, QueueFullError, UsageError
from router.routing.router import Router
from router.serving.engine import Engine
from router.serving.lanes import QUIET_AFTER_S


class Gated:
    """A router whose batches wait for `gate`, and which records each batch."""

    def __init__(self, router: Router, *, open_: bool = True) -> None:
        self.router, self.gate = router, threading.Event()
        self.entered = threading.Event()
        self.batches: list[tuple[list[str], Any]] = []
        if open_:
            self.gate.set()

    def route(self, query: Any, **options: Any) -> Any:
        self.entered.set()
        assert self.gate.wait(10)
        self.batches.append(([query] if isinstance(query, str) else list(query), options))
        return self.router.route(query, **options)


@pytest.fixture
def gated(tiny_checkpoint: Checkpoint) -> Iterator[Gated]:
    found = Gated(Router(tiny_checkpoint), open_=False)
    yield found
    found.gate.set()


async def entered(gated: Gated) -> None:
    """Wait until the worker computes a batch."""
    assert await asyncio.to_thread(gated.entered.wait, 10)


def test_decisions_are_the_routers_own(tiny_checkpoint: Checkpoint) -> None:
    router = Router(tiny_checkpoint)

    async def ask() -> list[Any]:
        async with Engine(router) as engine:
            return [await engine.route("prove that two is prime", dial=0), await engine.route("write", allow=["small"])]

    assert asyncio.run(ask()) == [
        router.route("prove that two is prime", dial=0),
        router.route("write", allow=["small"]),
    ]


def test_what_arrives_during_a_batch_is_the_next_batch_with_dials_of_their_own(gated: Gated) -> None:
    async def ask() -> list[Any]:
        async with Engine(gated) as engine:  # type: ignore[arg-type]
            first = asyncio.create_task(engine.route("prime"))
            await entered(gated)
            rest = [asyncio.create_task(engine.route(f"who {n}", dial=n)) for n in range(4)]
            other = asyncio.create_task(engine.route("code", dial=1, top=1))
            await asyncio.sleep(0.01)
            assert engine.waiting == 5
            gated.gate.set()
            return [*await asyncio.gather(first, *rest), await other]

    decisions = asyncio.run(ask())
    assert [len(queries) for queries, _ in gated.batches] == [1, 4, 1]
    assert gated.batches[1][1]["dial"] == [0.0, 1.0, 2.0, 3.0]
    assert [d.query for d in decisions] == ["prime", "who 0", "who 1", "who 2", "who 3", "code"]
    assert [d.dial for d in decisions[1:]] == [0, 1, 2, 3, 1]
    alone = gated.router.route("who 2", dial=2)
    assert (decisions[3].model, decisions[3].quality) == (alone.model, pytest.approx(alone.quality, abs=1e-5))


def test_two_workers_compute_at_the_same_time_and_share_what_waits(gated: Gated) -> None:
    async def ask() -> list[Any]:
        async with Engine(gated, workers=2, max_batch=4) as engine:  # type: ignore[arg-type]
            first = [asyncio.create_task(engine.route(f"who {n}")) for n in range(2)]
            while engine.waiting or not gated.entered.is_set():
                await asyncio.sleep(0.001)
            assert not gated.batches, "both wait in the router"
            rest = [asyncio.create_task(engine.route(f"prime {n}")) for n in range(10)]
            await asyncio.sleep(0.01)
            assert engine.waiting == 10
            gated.gate.set()
            return await asyncio.gather(*first, *rest)

    decisions = asyncio.run(ask())
    assert [d.query for d in decisions] == [*(f"who {n}" for n in range(2)), *(f"prime {n}" for n in range(10))]
    assert sorted(len(queries) for queries, _ in gated.batches) == [1, 1, 1, 2, 3, 4]


def test_workers_decide_as_one_does(tiny_checkpoint: Checkpoint) -> None:
    """Also if two threads gather the pool at the same time, and in batches of any size."""
    queries = [f"{text} {n}" for n in range(20) for text in ("prove that two is prime", "write code")]

    async def ask(workers: int) -> list[Any]:
        async with Engine(Router(tiny_checkpoint), workers=workers) as engine:
            return await asyncio.gather(
                *(engine.route(query, dial=n % 11, guard=n % 2 == 0) for n, query in enumerate(queries))
            )

    several, one = asyncio.run(ask(4)), asyncio.run(ask(1))
    assert [(d.query, d.model, d.dial) for d in several] == [(d.query, d.model, d.dial) for d in one]
    assert [d.quality for d in several] == pytest.approx([d.quality for d in one], abs=1e-5)


def test_the_event_loop_runs_while_the_worker_computes(gated: Gated) -> None:
    async def ask() -> int:
        async with Engine(gated) as engine:  # type: ignore[arg-type]
            asked = asyncio.create_task(engine.route("prime"))
            await entered(gated)
            turns = 0
            while turns < 100:
                await asyncio.sleep(0)
                turns += 1
            gated.gate.set()
            await asked
            return turns

    assert asyncio.run(ask()) == 100


def test_an_error_is_raised_where_it_belongs_and_nowhere_else(gated: Gated) -> None:
    async def ask() -> list[Any]:
        async with Engine(gated) as engine:  # type: ignore[arg-type]
            tasks = [asyncio.create_task(engine.route("prime"))]
            await entered(gated)
            tasks += [asyncio.create_task(engine.route(text, dial=2)) for text in ("good", "  ", "better")]
            tasks += [asyncio.create_task(engine.route("x", allow=["nobody"]))]
            await asyncio.sleep(0.01)
            gated.gate.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(ask())
    assert [type(each).__name__ for each in found] == [
        "Decision",
        "Decision",
        "QueryError",
        "Decision",
        "NoCandidateError",
    ]
    assert isinstance(found[2], QueryError)
    assert isinstance(found[4], NoCandidateError)


def test_a_full_queue_refuses_and_keeps_what_it_has(gated: Gated) -> None:
    async def ask() -> list[Any]:
        async with Engine(gated, max_queue=2) as engine:  # type: ignore[arg-type]
            tasks = [asyncio.create_task(engine.route("prime"))]
            await entered(gated)
            tasks += [asyncio.create_task(engine.route(f"who {n}")) for n in range(2)]
            await asyncio.sleep(0.01)
            with pytest.raises(QueueFullError, match="2 queries wait already, of at most 2"):
                await engine.route("one too many")
            gated.gate.set()
            return await asyncio.gather(*tasks)

    assert len(asyncio.run(ask())) == 3


def test_a_cancelled_caller_takes_its_query_along(gated: Gated) -> None:
    async def ask() -> None:
        async with Engine(gated) as engine:  # type: ignore[arg-type]
            first = asyncio.create_task(engine.route("prime"))
            await entered(gated)
            gone, stays = (asyncio.create_task(engine.route(text)) for text in ("gone", "stays"))
            await asyncio.sleep(0.01)
            gone.cancel()
            await asyncio.sleep(0.01)
            gated.gate.set()
            assert (await stays).query == "stays"
            await first

    asyncio.run(ask())
    assert [queries for queries, _ in gated.batches] == [["prime"], ["stays"]]


def test_a_new_checkpoint_takes_over_what_comes_and_nothing_is_dropped(
    gated: Gated, tiny_checkpoint: Checkpoint
) -> None:
    new = Gated(Router(tiny_checkpoint))

    async def ask() -> list[Any]:
        async with Engine(gated) as engine:  # type: ignore[arg-type]
            before = asyncio.create_task(engine.route("prime"))
            await entered(gated)
            waiting = [asyncio.create_task(engine.route(f"who {n}")) for n in range(3)]
            await asyncio.sleep(0.01)
            engine.swap(new)  # type: ignore[arg-type]
            gated.gate.set()
            after = asyncio.create_task(engine.route("who 3"))
            found = await asyncio.gather(before, *waiting, after)
            await engine.route("prime")  # the old router's decision is not remembered
            return found

    assert len(asyncio.run(ask())) == 5
    assert [queries for queries, _ in gated.batches] == [["prime"], ["who 0", "who 1", "who 2"]]
    assert [queries for queries, _ in new.batches] == [["who 3"], ["prime"]]


def test_a_repeated_query_is_decided_once_for_the_same_options(gated: Gated) -> None:
    gated.gate.set()

    async def ask() -> list[Any]:
        async with Engine(gated, cached=2) as engine:  # type: ignore[arg-type]
            found = [await engine.route("prime", dial=dial) for dial in (1, 1, 2, 1)]
            await engine.route("who")  # the third: the least recently used, dial 2, goes
            await engine.route("prime", dial=2)
            return found

    found = asyncio.run(ask())
    assert found[0] == found[1] == found[3]
    assert [(q, o["dial"]) for q, o in gated.batches] == [
        (["prime"], 1),
        (["prime"], 2),
        (["who"], None),
        (["prime"], 2),
    ]


def test_a_list_with_a_budget_is_met_as_a_whole(tiny_checkpoint: Checkpoint) -> None:
    router = Router(tiny_checkpoint)
    queries = ["prime", "who", "where is the root"]

    async def ask() -> Any:
        async with Engine(router) as engine:
            assert await engine.route_many([]) == []
            return await engine.route_many(queries, budget_usd_per_1k=1000.0)

    assert asyncio.run(ask()) == router.route(queries, budget_usd_per_1k=1000.0)


def test_many_threads_with_loops_of_their_own_share_an_engine(tiny_checkpoint: Checkpoint) -> None:
    router, found = Router(tiny_checkpoint), {}
    engine = Engine(router)

    def ask(name: str) -> None:
        async def all_() -> list[str]:
            return [(await engine.route(f"{name} {n}")).query for n in range(5)]

        found[name] = asyncio.run(all_())

    threads = [threading.Thread(target=ask, args=(f"t{n}",)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    engine.close()
    assert found == {f"t{t}": [f"t{t} {n}" for n in range(5)] for t in range(4)}


def test_a_closed_engine_says_so_and_wrong_settings_are_named(tiny_router: Path) -> None:
    engine = Engine(Router.from_pretrained(tiny_router))
    engine.close()
    with pytest.raises(EngineClosedError, match="takes no further queries"):
        asyncio.run(engine.route("prime"))
    with pytest.raises(UsageError, match="max_batch must be a whole number of at least 1, got 0"):
        Engine(engine.router, max_batch=0)


@pytest.mark.parametrize(
    ("dial", "message"), [([1, 2], "got 2 dials for 1"), ("3", "dial must be a number"), (11, "in 0")]
)
def test_a_wrong_dial_is_a_usage_error(tiny_checkpoint: Checkpoint, dial: Any, message: str) -> None:
    async def ask() -> None:
        async with Engine(Router(tiny_checkpoint)) as engine:
            await engine.route("prime", dial=dial)

    with pytest.raises(UsageError, match=message):
        asyncio.run(ask())


class Timed:
    """A router on a clock of its own, which each query moves by `query_s`; it records what it computes in which order.

    `during` is called by the worker within a piece of a list, with the list's first query.
    """

    def __init__(self, query_s: float = 1 / 128) -> None:
        self.query_s, self.now = query_s, 0.0
        self.log: list[tuple[str, int]] = []
        self.during: Callable[[str], None] = lambda first: None

    def clock(self) -> float:
        return self.now

    def route(self, query: Any, **options: Any) -> Any:
        self._compute(query if isinstance(query, str) else query[0], 1 if isinstance(query, str) else len(query))
        return query

    def route_in_pieces(self, queries: list[str], **options: Any) -> Any:
        done = 0
        while done < len(queries):
            count = yield
            part = queries[done : done + count]
            self._compute(queries[0], len(part))
            self.during(queries[0])
            done += len(part)
        return list(queries)

    def _compute(self, first: str, count: int) -> None:
        self.log.append((first, count))
        self.now += count * self.query_s


def timed_engine(router: Timed, **settings: Any) -> Engine:
    return Engine(router, cached=0, clock=router.clock, **settings)  # type: ignore[arg-type]


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("it did not come")


def test_a_list_nobody_waits_beside_is_computed_in_full_batches() -> None:
    router = Timed()

    async def ask() -> list[Any]:
        async with timed_engine(router, max_batch=20) as engine:
            return await engine.route_many([f"q{n}" for n in range(60)])

    assert asyncio.run(ask()) == [f"q{n}" for n in range(60)]
    assert [count for _, count in router.log] == [8, 20, 20, 12]


def test_a_single_query_waits_for_one_piece_and_keeps_the_next_ones_short() -> None:
    router, arrived = Timed(), []

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        async with timed_engine(router) as engine:
            for n in range(3):
                await engine.route(f"idle {n}")
            router.now += QUIET_AFTER_S

            def come(first: str) -> None:
                if len(arrived) < 2:
                    arrived.append(asyncio.run_coroutine_threadsafe(engine.route(f"single {len(arrived)}"), loop))
                    wait_until(lambda: engine.waiting == 1)

            router.during = come
            await engine.route_many([f"q{n}" for n in range(40)])
            for each in arrived:
                await asyncio.wrap_future(each)

    asyncio.run(ask())
    assert router.log[3:8] == [("q0", 8), ("single 0", 1), ("q0", 2), ("single 1", 1), ("q0", 2)]
    assert {count for first, count in router.log[8:] if first == "q0"} == {2}, "two idle decisions long"


def test_clients_lists_take_turns_piece_by_piece() -> None:
    router = Timed()

    async def ask() -> None:
        engine = timed_engine(router, max_batch=4)
        lists = [("a", "first"), ("a", "second"), ("b", "other")]
        with engine._changed:  # the worker sees none before all are there
            tasks = [asyncio.create_task(engine.route_many([name] * 8, client=client)) for client, name in lists]
            for _ in range(3):
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        engine.close()

    asyncio.run(ask())
    assert [first for first, _ in router.log] == ["first", "other", "first", "other", "second", "second"]


def test_lists_that_wait_do_not_fill_the_queue_of_single_queries() -> None:
    router = Timed()

    async def ask() -> Any:
        async with timed_engine(router, max_queue=1, max_list_queue=5) as engine:
            with engine._changed:
                lists = [asyncio.create_task(engine.route_many(["x"] * 5)) for _ in range(2)]
                single = asyncio.create_task(engine.route("single"))
                await asyncio.sleep(0)
                assert engine.waiting == 6
            return await asyncio.gather(*lists, single, return_exceptions=True)

    first, second, single = asyncio.run(ask())
    assert (first, single) == (["x"] * 5, "single")
    assert isinstance(second, QueueFullError)


def test_a_list_whose_caller_left_goes_no_further() -> None:
    router = Timed()

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        async with timed_engine(router) as engine:
            task = asyncio.create_task(engine.route_many(["x"] * 100))

            def leave(first: str) -> None:
                loop.call_soon_threadsafe(task.cancel)
                wait_until(task.done)

            router.during = leave
            await asyncio.wait({task})
            assert task.cancelled()
            router.during = lambda first: None
            assert await engine.route("next") == "next"

    asyncio.run(ask())
    assert router.log == [("x", 8), ("next", 1)]


def test_a_wrong_query_of_a_list_is_an_error_before_anything_is_computed(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = Router(tiny_checkpoint)
    monkeypatch.setattr(router.encoder, "encode", lambda *_, **__: pytest.fail("nothing should be encoded"))

    async def ask() -> None:
        async with Engine(router) as engine:
            await engine.route_many(["prime"] * 50 + [" "])

    with pytest.raises(QueryError, match="empty"):
        asyncio.run(ask())


def test_a_caller_that_changes_its_decision_changes_nobody_elses(tiny_checkpoint: Checkpoint) -> None:
    async def ask() -> list[dict[str, Any]]:
        found = []
        async with Engine(Router(tiny_checkpoint)) as engine:
            for _ in range(3):  # computed, and twice from what is remembered
                decision = await engine.route("prove that two is prime")
                found.append(deepcopy(decision.to_json()))
                for part in (decision.capabilities, decision.domains):
                    part.clear()
                decision.to_json()["alternatives"][0]["model"] = "nobody"
        return found

    first, *others = asyncio.run(ask())
    assert others == [first] * 2 and first["capabilities"] and first["domains"]
