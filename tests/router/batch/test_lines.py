"""Lines in, records out: formats, bad lines, laziness, memory."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from fixtures.fake_router import FakeRouter

from router.batch.lines import LOOKED_AT_BYTES, RawLine, check_text, encode_record, parse_line, read_lines, route_lines
from router.errors import UsageError

OPTIONS = {"allow": [], "deny": []}


def route(content: bytes, line_format: str = "jsonl", router: FakeRouter | None = None, **settings: Any) -> list[dict]:
    router = router or FakeRouter()
    lines = (parse_line(raw, line_format) for raw in read_lines(io.BytesIO(content)))
    settings = {"dial": 3.0, "batch_size": 4} | settings
    return list(route_lines(router, lines, options={"pool": router.pool(), **OPTIONS}, **settings))


class EndlessLines(io.RawIOBase):
    """A stream of lines made on demand, which counts those that were asked for."""

    def __init__(self, line: bytes, count: int) -> None:
        self.line, self.count, self.asked = line, count, 0

    def readline(self, limit: int | None = -1) -> bytes:
        self.asked += 1
        return self.line if self.asked <= self.count else b""


def test_every_line_gives_one_record_with_its_number_in_order() -> None:
    records = route(b"one\ntwo\nthree\nfour\nfive\n", "txt")
    assert [record["line"] for record in records] == [1, 2, 3, 4, 5]
    assert all(record["schema_version"] == 1 and record["model"] == "small" for record in records)


def test_text_lines_may_end_as_on_windows_start_with_a_mark_and_lack_the_last_end() -> None:
    router = FakeRouter()
    route(b"\xef\xbb\xbfone\r\ntwo", "txt", router)
    assert [query for query, _ in router.routed] == ["one", "two"]


def test_objects_give_query_or_text_an_id_that_is_returned_and_a_dial_of_their_own() -> None:
    router = FakeRouter()
    content = (
        b'{"query": "a", "id": "x1"}\n{"text": "b", "id": 7, "dial": 0}\n{"query": "c", "text": "d", "dial": null}\n'
    )
    records = route(content, router=router, dial=4.5)
    assert router.routed == [("a", 4.5), ("b", 0), ("c", 4.5)]
    assert [record.get("id") for record in records] == ["x1", 7, None]
    assert "id" not in records[2]


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (b'{"query": "a"', "QueryError", "not JSON (Expecting ',' delimiter at character 13)"),
        (b"", "QueryError", "not JSON"),
        (b"[" * 100_000, "QueryError", "nested too deeply"),
        (b'{"query": "a", "dial": NaN}', "QueryError", "NaN is no JSON value"),
        (b'["a"]', "QueryError", "holds a JSON list, not an object"),
        (b'{"prompt": "a", "n": 1}', "QueryError", "no key 'query' (or 'text'); its keys: prompt, n"),
        (b'{"query": ""}', "QueryError", "the query is empty"),
        (b'{"query": " \\n"}', "QueryError", "the query is empty"),
        (b'{"query": 12}', "QueryError", "query must be a string, got 12"),
        (b'{"text": null}', "QueryError", "text must be a string, got None"),
        (b'{"query": "\xff"}', "QueryError", "not valid UTF-8 (byte 0xff at 11)"),
        (b'{"query": "a", "id": ["x"]}', "QueryError", "id must be a string or a number, got ['x']"),
        (b'{"query": "a", "id": true}', "QueryError", "id must be a string or a number, got True"),
        (b'{"query": "a", "id": "x\\ud800"}', "QueryError", r"id is not valid Unicode, got 'x\ud800': give"),
        (b'{"prompt\\udfff": "a"}', "QueryError", r"no key 'query' (or 'text'); its keys: prompt\udfff"),
        (b'{"query": "a", "dial": 10.5}', "UsageError", "dial must be a number from 0 to 10, got 10.5"),
        (b'{"query": "a", "dial": "3"}', "UsageError", "dial must be a number from 0 to 10, got '3'"),
        (b'{"query": "a", "dial": 1e999}', "UsageError", "got inf"),
        (b'{"query": "a", "dial": ' + b"9" * 400 + b"}", "UsageError", "dial must be a number"),
        (b'{"query": "' + b"a" * 1_000_000 + b'"}', "QueryError", "1000000 characters; at most 500,000"),
        (b'{"query": "it needs a window"}', "NoCandidateError", "context window removed"),
    ],
)
def test_a_bad_line_becomes_one_error_record_in_its_place(line: bytes, kind: str, message: str) -> None:
    good = b'{"query": "fine", "id": "g"}\n'
    records = route(good + line + b"\n" + good * 2)
    assert [("error" in record, record["line"]) for record in records] == [
        (False, 1),
        (True, 2),
        (False, 3),
        (False, 4),
    ]
    assert records[1].keys() == {"schema_version", "line", "error"}
    assert records[1]["error"]["type"] == kind
    assert message in records[1]["error"]["message"]
    assert len(records[1]["error"]["message"]) < 300


def test_an_error_record_keeps_the_id_of_its_line() -> None:
    lines = b'{"id": "a"}\n{"id": 2, "query": ""}\n{"id": "c", "query": 1}\n{"id": 4.5, "query": "q", "dial": -1}\n'
    records = route(lines)
    assert [record["id"] for record in records] == ["a", 2, "c", 4.5]
    assert all("error" in record for record in records)


def test_an_empty_text_line_and_invalid_utf8_are_errors_of_their_own_line_only() -> None:
    records = route(b"one\n\n\xff\xfe\nfour\n", "txt")
    assert ["error" in record for record in records] == [False, True, True, False]


def test_a_line_beyond_the_limit_is_an_error_and_passed_over_without_being_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("router.batch.lines.MAX_LINE_BYTES", 10)
    raws = list(read_lines(io.BytesIO(b"x" * 10 + b"\n" + b"y" * 95 + b"\nz\n" + b"w" * 25)))
    assert [(len(raw.data), raw.size) for raw in raws] == [(10, 11), (11, 96), (1, 2), (11, 25)]
    errors = [parse_line(raw, "txt").error for raw in raws]
    assert [error is None for error in errors] == [False, False, True, False]
    assert "the line has 96 bytes; at most 10" in str(errors[1])


def test_a_failing_query_of_a_batch_does_not_make_the_others_route_twice() -> None:
    router = FakeRouter()
    records = route(b"a\n \nc\nd\ne\nneeds a window\ng\nh\n", "txt", router, batch_size=8)
    assert [query for query, _ in router.routed] == ["a", "c", "d", "e", "g", "h"]
    assert [record["line"] for record in records if "error" in record] == [2, 6]


def test_reading_is_lazy_a_batch_ahead_at_most() -> None:
    stream, router = EndlessLines(b"query\n", 10**9), FakeRouter()
    lines = (parse_line(raw, "txt") for raw in read_lines(stream))  # type: ignore[arg-type]
    records = route_lines(router, lines, dial=3.0, batch_size=4, options={"pool": router.pool(), **OPTIONS})
    assert stream.asked == 0
    assert [next(records)["line"] for _ in range(5)] == [1, 2, 3, 4, 5]
    assert stream.asked == 8


def test_batches_read_ahead_are_routed_together_and_come_back_in_order() -> None:
    stream, router = EndlessLines(b"query\n", 10), FakeRouter()
    calls = []
    original = router.route
    router.route = lambda queries, **options: calls.append(len(queries)) or original(queries, **options)  # type: ignore[method-assign]
    lines = (parse_line(raw, "txt") for raw in read_lines(stream))  # type: ignore[arg-type]
    records = route_lines(router, lines, dial=3.0, batch_size=2, ahead=3, options={"pool": router.pool(), **OPTIONS})
    assert [next(records)["line"] for _ in range(3)] == [1, 2, 3]
    assert (stream.asked, calls) == (6, [6])
    assert [record["line"] for record in records] == [4, 5, 6, 7, 8, 9, 10]
    assert calls == [6, 4]


def test_memory_does_not_grow_with_the_number_of_lines() -> None:
    stream, router = EndlessLines(b"x" * 2000 + b"\n", 5000), FakeRouter()
    router.routed = Forgetful()
    lines = (parse_line(raw, "txt") for raw in read_lines(stream))  # type: ignore[arg-type]
    records = route_lines(router, lines, dial=3.0, batch_size=8, options={"pool": router.pool(), **OPTIONS})
    tracemalloc.start()
    assert sum(1 for _ in records) == 5000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000, peak  # all lines together have 10 MB


class Forgetful(list):
    """So that the fake's own log does not count as memory of the batch."""

    def append(self, _: object) -> None:
        pass


# Goals in place of a dial


def route_goal(content: bytes, router: FakeRouter, together: int | None, **goal: float) -> list[dict]:
    lines = (parse_line(raw, "jsonl") for raw in read_lines(io.BytesIO(content)))
    options = {"pool": router.pool(), **OPTIONS, **goal}
    return list(route_lines(router, lines, dial=None, batch_size=2, together=together, options=options))


def test_a_goal_is_met_by_so_many_lines_together_or_line_by_line_as_on_validation() -> None:
    five = b"".join(b'{"query": "%d"}\n' % i for i in range(5))
    exact, stream = FakeRouter(), FakeRouter()
    records = route_goal(five, exact, 3, budget_usd_per_1k=0.5)
    assert exact.goals == [("at most $0.5 per 1,000 queries", "batch", n) for n in (3, 2)]
    assert [record["line"] for record in records] == [1, 2, 3, 4, 5]
    assert records[0]["goal"] == {
        "budget_usd_per_1k": 0.5, "quality_at_least": None, "met_on": "batch", "cost_weight": 200.0,
    }  # fmt: skip
    route_goal(five, stream, None, quality_at_least=0.7)
    assert stream.goals == [("a quality of at least 0.7", "validation", n) for n in (2, 2, 1)]
    assert {dial for _, dial in stream.routed} == {6.5}


def test_lines_at_fault_leave_the_goal_to_the_others_together() -> None:
    router = FakeRouter()
    lines = b'{"query": "a"}\n{"query": " "}\nno json\n{"query": "needs a window"}\n{"query": "e"}\n{"query": "f"}\n'
    records = route_goal(lines, router, 6, budget_usd_per_1k=0.5)
    assert [record["line"] for record in records if "error" in record] == [2, 3, 4]
    assert [record["goal"]["met_on"] for record in records if "goal" in record] == ["batch"] * 3
    assert [n for *_, n in router.goals] == [5, 3]


def test_a_line_with_a_dial_of_its_own_is_at_fault_where_there_is_a_goal() -> None:
    router = FakeRouter()
    records = route_goal(b'{"query": "a", "dial": 2, "id": 7}\n{"query": "b"}\n', router, 5, budget_usd_per_1k=0.5)
    assert records[0]["id"] == 7 and records[0]["error"]["type"] == "UsageError"
    assert "the line has dial 2, but the request a budget or a quality" in records[0]["error"]["message"]
    assert [query for query, _ in router.routed] == ["b"]


def test_a_budget_that_lines_cannot_keep_names_them() -> None:
    with pytest.raises(UsageError, match=r"^lines 1 to 2: the least possible here is 0\.12$"):
        route_goal(b'{"query": "a"}\n{"query": "b"}\n{"query": "c"}\n', FakeRouter(), 2, budget_usd_per_1k=0.1)


def test_reasons_are_kept_on_request_only() -> None:
    assert "reasons" not in route(b"one\n", "txt")[0]
    assert route(b"one\n", "txt", explain=True)[0]["reasons"]["runner_up"] == "big"


def test_a_record_is_one_line_of_ascii_and_never_nan() -> None:
    line = encode_record({"line": 1, "id": "zürich\n\ud800"})
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert json.loads(line)["id"] == "zürich\n\ud800"
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_record({"quality": float("nan")})


def test_what_concerns_the_whole_request_is_raised() -> None:
    class Broken(FakeRouter):
        def route(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("CUDA is out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        route(b"one\n", "txt", Broken())


def test_a_raw_line_is_cut_and_numbered() -> None:
    assert list(read_lines(io.BytesIO(b"a\n\nb"))) == [RawLine(1, b"a", 2), RawLine(2, b"", 1), RawLine(3, b"b", 1)]


@pytest.mark.parametrize("content", ["a query".encode("utf-16"), b"\x7fELF\x00", b"a" * (LOOKED_AT_BYTES - 1) + b"\0"])
def test_a_file_that_is_no_text_is_refused_as_a_whole(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "in.txt"
    file.write_bytes(content)
    place = content.index(0)
    with pytest.raises(UsageError, match=rf"in\.txt is no text in UTF-8 \(byte {place} is zero\): give lines"):
        check_text(file)


@pytest.mark.parametrize("content", [b"", b"caf\xe9\n", b"a" * LOOKED_AT_BYTES + b"\0", "für 5 €".encode()])
def test_a_text_with_a_bad_line_is_not_refused_as_a_whole(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "in.txt"
    file.write_bytes(content)
    check_text(file)
    with file.open("rb") as stream:
        assert len([*read_lines(stream)]) == bool(content)
