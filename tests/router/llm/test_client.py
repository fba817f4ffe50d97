"""The client against a loopback endpoint: what it retries, what it keeps, what it pays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from fixtures.loopback_llm import Faults, LoopbackLLM, Said, serving

from router.errors import CapReachedError, StoppedError, UnansweredError
from router.llm.client import ALL_FAIL, Client
from router.llm.endpoint import Endpoint, make_endpoint
from router.llm.question import Answer, Message, Question
from router.llm.store import Store

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


def test_an_endpoint_that_counts_more_than_the_question_allows_has_more_reserved_from_then_on(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(LoopbackLLM(lambda body: Said("hm", output_tokens=500))) as llm:  # 50 were allowed
        place = endpoint(llm, limits={"concurrency": 1})
        results, client = run(cache, lambda client: gathered(client, place, [question("1"), question("2")]), 0.009)
    assert isinstance(results[0], Answer)
    assert isinstance(client.fatal, CapReachedError)
    assert client.store.spent_usd == results[0].usd == pytest.approx(0.005001)
    assert "more is reserved from now on" in caplog.text


def test_an_answer_without_a_usage_is_estimated_and_counts_at_the_most_it_can_cost(cache: Path) -> None:
    with serving(LoopbackLLM(echo, Faults(usage=False))) as llm:
        place = endpoint(llm)
        answer, client = run(cache, lambda client: client.ask(place, question("12345678")))
    assert (answer.counted, answer.input_tokens, answer.output_tokens) == (False, 2.0, 4.0)
    assert client.store.spent_usd == question("12345678").most_usd(place) > answer.usd


def test_the_parallel_requests_are_no_more_than_the_limit(cache: Path) -> None:
    with serving(LoopbackLLM(echo, Faults(latency_s=0.02))) as llm:
        place = endpoint(llm, limits={"concurrency": 3})
        run(cache, lambda client: gathered(client, place, [question(str(n)) for n in range(12)]))
    assert llm.most_at_once == 3
