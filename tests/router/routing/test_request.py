"""What `Router.route` takes for queries and names, and how it says which of them is wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fixtures.tiny_checkpoint import FACTS, SYSTEMS

from router.checkpoint.checkpoint import Checkpoint
from router.errors import NoCandidateError, QueryError, UsageError
from router.pools.pool import Candidate, Pool
from router.routing import pipeline, pool_cache
from router.routing.request import MOST_LOOKED_UP
from router.routing.router import Router

QUERIES = ["prove that two is prime", "write python code", "who is the root"]
LONG = "word " * 500  # 625 tokens
NARROW = Pool(
    "narrow",
    (
        Candidate(replace(FACTS["large"], context_window=2000), SYSTEMS[0]),
        Candidate(replace(FACTS["small"], context_window=100), SYSTEMS[2]),
    ),
)


@pytest.fixture
def router(tiny_checkpoint: Checkpoint) -> Router:
    return Router(tiny_checkpoint)


# Queries in an order


@pytest.mark.parametrize(
    "ordered",
    [
        np.array,
        lambda texts: np.array(texts, object),
        pd.Series,
        lambda texts: pd.Series(texts, range(7, 7 + len(texts))),
        lambda texts: pd.Series(texts, dtype="string").array,
        deque,
        tuple,
    ],
    ids=["numpy", "numpy objects", "pandas", "pandas with an index", "pandas array", "deque", "tuple"],
)
def test_an_array_or_a_column_of_queries_is_a_list_of_them(router: Router, ordered: Callable[[list[str]], Any]) -> None:
    decisions = router.route(ordered(QUERIES), dial=[0, 5, 10])
    assert decisions == router.route(QUERIES, dial=[0, 5, 10]) and isinstance(decisions, list)
    assert router.route(ordered([])) == []


@pytest.mark.parametrize(
    ("table", "shape"),
    [(pd.DataFrame({"text": QUERIES}), r"\(3, 1\)"), (np.array([QUERIES]), r"\(1, 3\)"), (np.array("one"), r"\(\)")],
)
def test_a_table_is_no_list_of_queries(router: Router, table: Any, shape: str) -> None:
    with pytest.raises(QueryError, match=f"got {type(table).__name__} of shape {shape}: give one column"):
        router.route(table)


def test_a_value_missing_in_a_column_is_named_by_its_place(router: Router) -> None:
    column: Any = pd.Series([QUERIES[0], float("nan"), QUERIES[1]], dtype=object)
    with pytest.raises(QueryError, match=r"queries\[1\]: a query must be a string, got float"):
        router.route(column)


# Which of several is wrong


def test_one_bad_query_among_several_is_named_by_its_index(router: Router) -> None:
    with pytest.raises(QueryError, match=r"^queries\[2\]: the query is empty") as error:
        router.route([*QUERIES[:2], " ", QUERIES[2]])
    assert error.value.index == 2
    wrong: Any = [QUERIES[0], 5]
    for ask in (router.route, router.predict):
        with pytest.raises(QueryError, match=r"^queries\[1\]: a query must be a string, got int"):
            ask(wrong)
    with pytest.raises(NoCandidateError, match=r"^queries\[1\]: no model is left: .*context window"):
        router.route([QUERIES[0], LONG, QUERIES[1]], pool=NARROW, allow=["small"])


@pytest.mark.parametrize(("query", "message"), [("", "^the query is empty"), (LONG, "^no model is left")])
def test_a_query_by_itself_has_no_index(router: Router, query: str, message: str) -> None:
    with pytest.raises((QueryError, NoCandidateError), match=message) as error:
        router.route(query, pool=NARROW, allow=["small"])
    assert error.value.index is None


@pytest.mark.parametrize(("bad", "message"), [("", "the query is empty"), (LONG, "no model is left")])
def test_a_bad_query_of_a_stream_is_named_by_its_place_in_all_of_it(router: Router, bad: str, message: str) -> None:
    stream = iter([*QUERIES, QUERIES[0], bad, QUERIES[1]])
    decisions = router.route(stream, batch_size=2, pool=NARROW, allow=["small"])
    assert [next(decisions).query for _ in range(4)] == [*QUERIES, QUERIES[0]]
    with pytest.raises((QueryError, NoCandidateError), match=rf"^queries\[4\]: {message}"):
        next(decisions)


@pytest.mark.parametrize("admitted", [["small"], ["s*"]])
def test_a_query_that_no_model_of_a_large_pool_may_answer_is_named_by_its_index(
    router: Router, admitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "NARROWED_TOGETHER", 2)
    monkeypatch.setattr(pool_cache, "is_needed", lambda models, index: True)
    for count in (1, 4):
        with pytest.raises(NoCandidateError, match=rf"^queries\[{count}\]: no model is left"):
            router.route([QUERIES[0]] * count + [LONG], pool=NARROW, allow=admitted)


@pytest.mark.parametrize(
    ("query", "options"),
    [("", {}), (5, {}), (QUERIES, {"dial": 11}), (QUERIES, {"allow": "small"}), (QUERIES, {"top": 0})],
)
def test_a_wrong_argument_is_also_a_value_error(router: Router, query: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"empty|got int|dial|allow|top") as error:
        router.route(query, **options)
    assert isinstance(error.value, UsageError | QueryError)


# Denied names that nobody has


def test_denied_names_without_end_are_told_shortened_and_kept_up_to_a_bound(
    router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    router.route(QUERIES[0], deny=["x\nrouter: forged " + "y" * 10_000])
    message = caplog.records[0].getMessage()
    assert (
        len(caplog.records) == 1 and len(message) < 300 and "\n" not in message and r"deny 'x\nrouter: for" in message
    )
    router.route(QUERIES[0], deny=[f"nobody-{number}" for number in range(200)])
    told = len(caplog.records)
    assert told <= MOST_LOOKED_UP + 1
    assert "further denied names are not looked up" in caplog.records[-1].getMessage()
    router.route(QUERIES[0], deny=[f"nobody-{number}" for number in range(200, 300)])
    assert len(caplog.records) == told
    assert len(router.unmatched.looked_up) == MOST_LOOKED_UP


def test_a_router_whose_callers_are_strangers_writes_nothing_of_theirs(
    router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    router.unmatched = None
    router.route(QUERIES, deny=["smal"])
    assert caplog.records == []


def test_a_string_in_place_of_a_list_is_an_error_and_not_a_query_a_letter(router: Router) -> None:
    for call in (lambda: router.predict("abc"), lambda: next(router.route_in_pieces("abc"))):
        with pytest.raises(QueryError, match=r"give a list of queries, got one string: write \[query\]"):
            call()


def test_a_pool_that_does_not_change_keeps_its_index_and_so_does_one_whose_change_fails(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_cache, "is_needed", lambda models, index: True)
    pool, cache = router.pool(NARROW), router.pool_cache
    index = cache.shortlist(pool)
    assert router.change_pool(pool) == pool and cache.shortlist(pool) is index
    monkeypatch.setattr(pool_cache, "gather_candidates", lambda *_: pytest.fail("no such profile"))
    with pytest.raises(pytest.fail.Exception):
        router.change_pool(pool, remove=pool.ids[:1])
    assert cache.shortlist(pool) is index
