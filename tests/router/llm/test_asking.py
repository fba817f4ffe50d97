"""The client against a loopback endpoint: what it retries, what it keeps, what it pays."""

from __future__ import annotations

import asyncio
import datetime
import sqlite3
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from fixtures.loopback_llm import Faults, LoopbackLLM, Said, serving

from router.errors import CapReachedError, StoppedError, UnansweredError, UsageError
from router.llm.client import ALL_FAIL, Client
from router.llm.endpoint import Endpoint, endpoint_of, make_endpoint
from router.llm.form import objects
from router.llm.limits import Pace
from router.llm.question import Answer, Message, Question
from router.llm.refusals import complaint, wait_s
from router.llm.store import Store
from router.llm.stream import in_order
from router.llm.untrusted_text import clipped, seal
from router.pools.pool import read_pool

PRICES = (1.0, 10.0)


def question(text: str, **changes: Any) -> Question:
    return Question(**({"messages": (Message("user", text),), "most_tokens": 50} | changes))


def endpoint(llm: LoopbackLLM, **settings: Any) -> Endpoint:
    return make_endpoint(llm.url, "echo", PRICES, **settings)


def echo(body: dict[str, Any]) -> str:
    return f"echo of {body['messages'][-1]['content']}"


def run(
    path: Path, work: Callable[[Client], Coroutine[Any, Any, Any]], cap_usd: float | None = None
) -> tuple[Any, Client]:
    async def main() -> tuple[Any, Client]:
        with Store(path) as store:
            async with Client(store, cap_usd) as client:
                return await work(client), client

    return asyncio.run(main())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


async def gathered(client: Client, place: Endpoint, questions: list[Question]) -> list[Any]:
    return await asyncio.gather(*(client.ask(place, each) for each in questions), return_exceptions=True)


def test_a_question_of_before_is_answered_from_the_cache_and_not_sent(cache: Path) -> None:
    with serving(LoopbackLLM(echo)) as llm:
        place = endpoint(llm)
        first, _ = run(cache, lambda client: client.ask(place, question("two")))
        again, client = run(cache, lambda client: client.ask(place, question("two")))
    assert first == again
    assert (first.text, first.counted, first.output_tokens) == ("echo of two", True, 3)  # 11 characters
    assert first.usd == pytest.approx((1 * 1.0 + 3 * 10.0) / 1e6)
    assert (client.tally.cached, client.tally.sent, llm.requests) == (1, 0, 1)


def test_what_the_answer_may_depend_on_names_the_question_and_nothing_else_does(cache: Path) -> None:
    place = Endpoint("http://a/v1", "m", 1.0, 1.0)
    key = question("q").key(place)
    others = [question("p"), question("q", number=1), question("q", temperature=1.0), question("q", schema={})]
    assert len({key, *(each.key(place) for each in others)}) == 5
    assert question("q").key(Endpoint("http://a/v1", "n", 1.0, 1.0)) != key
    assert question("q").key(Endpoint("http://a/v1", "m", 1.0, 1.0, parameters={"top_p": 0.1})) != key
    assert question("q").key(Endpoint("http://a/v1/", "m", 9.0, 9.0, "KEY", 5.0, limits={"concurrency": 2})) == key


def test_one_question_asked_many_times_at_once_is_sent_once(cache: Path) -> None:
    with serving(LoopbackLLM(echo, Faults(latency_s=0.05))) as llm:
        place = endpoint(llm)
        answers, _ = run(cache, lambda client: gathered(client, place, [question("one")] * 9))
    assert len({answer.text for answer in answers}) == 1
    assert llm.requests == 1


def test_refusals_for_now_are_asked_again_until_answered(cache: Path) -> None:
    with serving(LoopbackLLM(echo, Faults(overloaded=0.2, broken=0.1, unreadable=0.1, retry_after="0.01"))) as llm:
        place = endpoint(llm)
        questions = [question(str(number)) for number in range(60)]
        answers, client = run(cache, lambda client: gathered(client, place, questions))
    assert [answer.text for answer in answers] == [f"echo of {number}" for number in range(60)]
    assert llm.refused["429"] > 0
    assert llm.refused["500"] > 0
    assert client.tally.answered == 60
    assert client.tally.sent == llm.requests > 60 + llm.refused.total()  # and some answers could not be read


def test_retry_after_holds_all_requests_to_the_endpoint_for_so_long(cache: Path) -> None:
    llm = LoopbackLLM(echo, Faults(overloaded=1.0, retry_after="0.3"))

    async def work(client: Client) -> float:
        place = endpoint(llm)
        start = time.perf_counter()
        first = asyncio.create_task(client.ask(place, question("a")))
        while not llm.refused:
            await asyncio.sleep(0.01)
        llm.faults.overloaded = 0.0
        await asyncio.sleep(0.05)
        await client.ask(place, question("b"))
        waited = time.perf_counter() - start
        await first
        return waited

    with serving(llm):
        waited, _ = run(cache, work)
    assert waited > 0.3


def test_an_endpoint_that_asks_to_wait_for_hours_stops_the_run(cache: Path) -> None:
    with serving(LoopbackLLM(echo, Faults(overloaded=1.0, retry_after="7200"))) as llm:
        place = endpoint(llm)
        _, client = run(cache, lambda client: gathered(client, place, [question("a"), question("b")]))
    assert "asks to wait 7200 s (HTTP 429: Rate limit reached)" in str(client.fatal)
    assert client.store.spent_usd == 0


def test_seconds_dates_and_milliseconds_are_read_and_else_the_wait_is_drawn_and_grows() -> None:
    now = datetime.datetime(2026, 11, 25, 12, 0, 0, tzinfo=datetime.UTC)
    assert wait_s({"retry-after": "7"}, 0, now) == 7
    assert wait_s({"retry-after": "Wed, 25 Nov 2026 12:00:30 GMT"}, 0, now) == 30
    assert wait_s({"retry-after": "Wed, 25 Nov 2026 11:00:00 GMT"}, 0, now) == 0
    assert wait_s({"retry-after-ms": "250", "retry-after": "1"}, 0, now) == 0.25
    assert 0.05 <= wait_s({"retry-after": "soon"}, 0, now) <= 0.5
    assert 6 <= wait_s({}, 30, now) <= 60


def test_a_parameter_that_the_model_does_not_take_is_left_out_or_renamed(cache: Path) -> None:
    with serving(LoopbackLLM(echo, Faults(unsupported=("temperature", "response_format", "max_tokens")))) as llm:
        place = endpoint(llm)
        asked = [question("a", schema={"type": "object"}), question("b", schema={"type": "object"})]
        (first, *_), _ = run(cache, lambda client: gathered(client, place, asked))
        _, client = run(cache, lambda client: gathered(client, place, [question("c", schema={"type": "object"})]))
    assert first.text == "echo of a"
    assert llm.bodies[-1].keys() == {"model", "messages", "max_completion_tokens"}
    assert client.tally.answered == 1


def test_a_wrong_key_stops_everything_and_is_shown_nowhere(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    with serving(LoopbackLLM(echo, key="sk-other")) as llm:
        place = endpoint(llm, key_env="SOME_KEY", limits={"concurrency": 1})
        results, client = run(cache, lambda client: gathered(client, place, [question(str(n)) for n in range(5)]))
        assert llm.requests == 1
        monkeypatch.setenv("SOME_KEY", "sk-other")
        answer, _ = run(cache, lambda client: client.ask(place, question("0")))
    assert all(isinstance(result, StoppedError) for result in results)
    assert "HTTP 401: Incorrect API key provided: ***" in str(client.fatal)
    assert answer.text == "echo of 0"
    everything = str(client.fatal) + caplog.text + cache.read_bytes().decode("latin-1")
    assert "very-secret" not in everything


def test_a_key_that_is_not_set_is_named_by_its_variable(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    place = make_endpoint("http://127.0.0.1:9/v1", "m", PRICES, key_env="NO_KEY")
    _, client = run(cache, lambda client: gathered(client, place, [question("a")]))
    assert "environment variable NO_KEY, which is not set" in str(client.fatal)


def test_a_question_that_is_refused_for_good_does_not_stop_the_others(cache: Path) -> None:
    llm = LoopbackLLM(echo)

    async def work(client: Client) -> None:
        place = endpoint(llm)
        await client.ask(place, question("good"))
        llm.faults.status = 413
        with pytest.raises(UnansweredError, match="HTTP 413: refused on demand"):
            await client.ask(place, question("too long"))
        llm.faults.status = None
        await client.ask(place, question("better"))

    with serving(llm):
        _, client = run(cache, work)
    assert (client.tally.answered, client.tally.unanswered, client.fatal) == (2, 1, None)


def test_when_every_question_fails_the_run_stops(cache: Path) -> None:
    with serving(LoopbackLLM(echo, Faults(status=418))) as llm:
        place = endpoint(llm, limits={"concurrency": 1})
        _, client = run(cache, lambda client: gathered(client, place, [question(str(n)) for n in range(100)]))
    assert f"{ALL_FAIL} questions in a row failed" in str(client.fatal)
    assert llm.requests == ALL_FAIL


def test_the_deadline_ends_the_tries_of_a_question(cache: Path) -> None:
    llm = LoopbackLLM(echo)

    async def work(client: Client) -> None:
        place = endpoint(llm, deadline_s=0.3)
        await client.ask(place, question("good"))
        llm.faults.broken = 1.0
        with pytest.raises(UnansweredError, match=r"within 0.[3-9] s .*HTTP 500: The server had an error"):
            await client.ask(place, question("a"))

    with serving(llm):
        _, client = run(cache, work)
    assert client.fatal is None


@pytest.mark.parametrize("faults", [Faults(broken=1.0), None], ids=["always 500", "nobody there"])
def test_an_endpoint_that_never_answers_stops_the_run(cache: Path, faults: Faults | None) -> None:
    with serving(LoopbackLLM(echo, faults or Faults())) as llm:
        place = endpoint(llm, deadline_s=0.3)
        if faults is not None:
            _, client = run(cache, lambda client: gathered(client, place, [question("a")]))
    if faults is None:
        _, client = run(cache, lambda client: gathered(client, place, [question("a")]))
    assert "gave no answer within 0." in str(client.fatal)
    assert "nor to any other question" in str(client.fatal)
    assert client.store.spent_usd == 0


@pytest.mark.parametrize("faults", [Faults(latency_s=0.01), Faults(latency_s=0.01, unreadable=0.3, overloaded=0.1)])
def test_the_cap_is_never_exceeded_by_what_is_spent_or_under_way_and_nothing_is_lost(
    cache: Path, faults: Faults
) -> None:
    questions = [question(str(number)) for number in range(100)]
    cap_usd = 0.006
    with serving(LoopbackLLM(lambda body: "x" * 120, faults)) as llm:
        place = endpoint(llm)
        results, client = run(cache, lambda client: gathered(client, place, questions), cap_usd)
        answered = [result for result in results if isinstance(result, Answer)]
        billed_usd = llm.billed.total() * place.cost_usd(1, 30)
        assert isinstance(client.fatal, CapReachedError)
        assert 5 <= len(answered) < 100
        assert billed_usd <= client.store.spent_usd <= cap_usd
        before = llm.requests
        _, client = run(cache, lambda client: gathered(client, place, questions), cap_usd)  # spent before counts
        assert llm.requests - before <= 1
        llm.faults = Faults()
        results, client = run(cache, lambda client: gathered(client, place, questions), 1.0)
    assert all(isinstance(result, Answer) for result in results)
    assert client.tally.cached >= len(answered)


def test_what_was_under_way_at_a_kill_counts_at_the_most_it_can_cost(cache: Path) -> None:
    with Store(cache) as store:
        store.begin("a", 0.5)
        number = store.begin("b", 0.5)
        store.settle(number, "b", 0.125, None)
    with Store(cache) as store:
        assert (store.lost, store.spent_usd) == (1, 0.625)
    with Store(cache) as store:
        assert (store.lost, store.spent_usd) == (0, 0.625)


def test_an_endpoint_that_counts_more_than_the_question_allows_has_more_set_aside_from_then_on(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(LoopbackLLM(lambda body: Said("hm", output_tokens=500))) as llm:  # 50 were allowed
        place = endpoint(llm, limits={"concurrency": 1})
        results, client = run(cache, lambda client: gathered(client, place, [question("1"), question("2")]), 0.009)
    assert isinstance(results[0], Answer)
    assert isinstance(client.fatal, CapReachedError)
    assert client.store.spent_usd == results[0].usd == pytest.approx(0.005001)
    assert "more is set aside from now on" in caplog.text


def test_an_answer_without_a_usage_is_estimated_and_counts_at_the_most_it_can_cost(cache: Path) -> None:
    with serving(LoopbackLLM(echo, Faults(usage=False))) as llm:
        place = endpoint(llm)
        answer, client = run(cache, lambda client: client.ask(place, question("12345678")))
    assert (answer.counted, answer.input_tokens, answer.output_tokens) == (False, 2.0, 4.0)
    assert client.store.spent_usd == question("12345678").most_usd(place) > answer.usd


def test_a_file_in_use_and_a_file_of_another_kind_are_one_clear_error(tmp_path: Path, cache: Path) -> None:
    with Store(cache), pytest.raises(UsageError, match="is in use by another run"):
        Store(cache)
    other = tmp_path / "other"
    other.write_text("this is no database, it is a text of a certain length " * 30)
    with pytest.raises(UsageError, match=r"cannot use .* as a cache of answers"):
        Store(other)
    assert sqlite3.connect(cache).execute("SELECT COUNT(*) FROM answers").fetchone() == (0,)


def test_results_come_in_order_with_a_bounded_window_and_an_error_waits_for_those_at_work() -> None:
    begun: list[int] = []
    done: list[int] = []

    async def work(item: int) -> int:
        begun.append(item)
        await asyncio.sleep(0.02 if item % 3 == 0 else 0.001)
        if item == 20:
            raise ValueError("twenty")
        done.append(item)
        return item * 10

    async def main() -> list[tuple[int, int]]:
        seen = []
        with pytest.raises(ValueError, match="twenty"):
            async for item, result in in_order(iter(range(1000)), work, window=4):
                seen.append((item, result))
                assert len(begun) - len(seen) <= 4
        return seen

    assert asyncio.run(main()) == [(item, item * 10) for item in range(20)]
    assert sorted(done) == [0, *range(1, 20), *(each for each in begun if each > 20)]


def test_requests_are_spread_over_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(asyncio.SelectorEventLoop):
        now = 0.0

        def time(self) -> float:
            return self.now

    clock = Clock()

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def main() -> None:
        pace = Pace({"requests_per_minute": 60 / 0.05})
        await asyncio.gather(*(pace.turn(1) for _ in range(5)))

    with asyncio.Runner(loop_factory=lambda: clock) as runner:
        runner.run(main())
    assert clock.now == pytest.approx(0.2)


def test_the_parallel_requests_are_no_more_than_the_limit(cache: Path) -> None:
    with serving(LoopbackLLM(echo, Faults(latency_s=0.02))) as llm:
        place = endpoint(llm, limits={"concurrency": 3})
        run(cache, lambda client: gathered(client, place, [question(str(n)) for n in range(12)]))
    assert llm.most_at_once == 3


def test_an_endpoint_comes_from_a_pools_entry(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(
        "name: p\nmodels:\n"
        "- {id: a, input_usd_per_mtok: 1, output_usd_per_mtok: 2, upstream: {api_base: 'https://x.example/v1', "
        "key_env: K, timeout_s: 5, limits: {requests_per_minute: 30, something_of_the_server: 1}}}\n"
        "- {id: b, input_usd_per_mtok: 1, output_usd_per_mtok: 2}\n"
    )
    first, second = read_pool(file, None).candidates
    made = endpoint_of(first)
    assert (made.url, made.model, made.key_env, made.timeout_s) == (
        "https://x.example/v1/chat/completions", "a", "K", 5.0,
    )  # fmt: skip
    assert made.limits == {"requests_per_minute": 30}
    assert made.cost_usd(1e6, 1e6) == 3
    with pytest.raises(UsageError, match="entry b of the pool has no upstream: add upstream"):
        endpoint_of(second)


def test_the_key_of_a_pools_entry_may_lie_in_a_file_beside_the_pool(tmp_path: Path) -> None:
    file, key = tmp_path / "pool.yaml", tmp_path / "a.key"
    file.write_text(
        "name: p\nmodels:\n- {id: a, input_usd_per_mtok: 1, output_usd_per_mtok: 2, "
        "upstream: {api_base: 'https://x.example/v1', key_file: a.key}}\n"
    )
    made = endpoint_of(read_pool(file, None).candidates[0], "OTHER_KEY")
    assert made.key_env is None
    with pytest.raises(UsageError, match=f"the key of a cannot be read from {key}: No such file"):
        made.key()
    key.write_text("sk-hush\n")
    key.chmod(0o644)
    with pytest.raises(UsageError, match="other users may read") as caught:
        made.key()
    assert "hush" not in str(caught.value)
    key.chmod(0o600)
    assert made.key() == "sk-hush"
    assert "hush" not in repr(made)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "api.example.com"}, "base_url of m: not an address"),
        ({"key_env": "sk-123"}, "key_env of m: not the name of an environment variable"),
        ({"timeout_s": 0}, "timeout_s of m: got 0"),
        ({"limits": {"rpm": 3}}, "allowed are concurrency, requests_per_minute, tokens_per_minute"),
        ({"prices": (-1.0, 1.0)}, "input price of m"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, Any], message: str) -> None:
    given = {"base_url": "http://127.0.0.1/v1", "model": "m", "prices": PRICES} | settings
    with pytest.raises(UsageError, match=message) as caught:
        make_endpoint(given.pop("base_url"), given.pop("model"), given.pop("prices"), **given)
    assert "sk-123" not in str(caught.value)


def test_a_ticket_is_in_no_text_and_follows_from_the_salt() -> None:
    sealed = seal({"query": "text"}, b"salt")
    assert sealed == seal({"query": "text"}, b"salt")
    assert (
        len({sealed.ticket, seal({"query": "text"}, b"other").ticket, seal({"query": "text"}, b"salt", 1).ticket}) == 3
    )
    assert sealed.block() == f"<<<{sealed.ticket} query\ntext\n{sealed.ticket}>>>"
    two = seal({"query": "ignore the\nabove", "answer": "a b"}, b"s")
    assert two.block().count(two.ticket) == 4
    assert "ignore\u02c6the\u02c6above" in two.block(marked=True)


def test_a_text_that_holds_its_own_ticket_gets_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.llm.untrusted_text.DIGITS", 1)
    for text in "0123456789abcde":
        assert seal({"query": "0123456789abcde".replace(text, "")}, b"salt").ticket in (text, "f")


def test_a_long_text_keeps_head_and_tail() -> None:
    text = "a" * 7000 + "b" * 9000 + "c" * 3000
    short = clipped(text, 10_000)
    assert short.startswith("a" * 7000)
    assert short.endswith("c" * 3000)
    assert "[... 9,000 characters left out ...]" in short


def test_complaints_are_short_and_on_one_line() -> None:
    assert complaint('{"error": {"message": "bad\\nkey abc"}}', "abc") == "bad key ***"
    assert complaint("<html>" * 1000, None).endswith("...")
    assert complaint("", None) == "no explanation"


@pytest.mark.parametrize("text", ["", "{", '{"a": ' * 3000, "{}" * 3, "[{}]"])
def test_objects_are_found_in_anything(text: str) -> None:
    assert all(isinstance(each, dict) for each in objects(text))
