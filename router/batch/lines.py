"""Routing of query lines: bytes in, one JSON record per line out, in order and in constant memory.

A line that cannot be routed becomes an error record in its place. Knows the two line formats (text, JSON objects), not
where lines come from or where records go.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from router.errors import NoCandidateError, QueryError, RouterError, UsageError
from router.options import DIAL_MAX
from router.policy.decision import GOALS, SCHEMA_VERSION, Decision

if TYPE_CHECKING:
    from router.routing.router import Router

FORMATS = ("txt", "jsonl")
QUERY_KEYS = ("query", "text")
MAX_LINE_BYTES = 8_000_000  # no query that may be routed needs more, even with every character escaped
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LOOKED_AT_BYTES = 8000  # of a file, to tell whether it is text
PER_QUERY = (QueryError, NoCandidateError)  # errors of `Router.route` about one query of several


@dataclass(frozen=True)
class RawLine:
    """A line as read: `data` without its end, cut where the line is longer than `MAX_LINE_BYTES`."""

    number: int  # from 1
    data: bytes
    size: int  # bytes taken from the stream


@dataclass(frozen=True)
class QueryLine:
    """A parsed line: the query, or the error that keeps it from being routed."""

    number: int
    query: str = ""
    id: str | int | float | None = None
    dial: float | None = None  # None: the request's
    error: RouterError | None = None


def check_text(path: Path) -> None:
    """UsageError for a file that is no text: a program, an archive, UTF-16; a zero byte near its start shows it."""
    with path.open("rb") as file:
        place = file.read(LOOKED_AT_BYTES).find(b"\0")
    if place >= 0:
        raise UsageError(f"{path} is no text in UTF-8 (byte {place} is zero): give lines of text or JSON objects")


def read_lines(stream: BinaryIO) -> Iterator[RawLine]:
    r"""Lines of `stream`, one at a time; bytes of a line beyond `MAX_LINE_BYTES` are skipped, never held.

    >>> import io
    >>> [line.data for line in read_lines(io.BytesIO(b"one\r\n\ntwo"))]
    [b'one', b'', b'two']
    """
    number = 0
    while data := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        size, rest = len(data), data
        while not rest.endswith(b"\n") and (rest := stream.readline(MAX_LINE_BYTES)):
            size += len(rest)
        yield RawLine(number, data.removesuffix(b"\n").removesuffix(b"\r"), size)


def parse_line(raw: RawLine, line_format: str) -> QueryLine:
    """The query in a line of `line_format` (txt, jsonl), or the line's error."""
    data = raw.data.removeprefix(BYTE_ORDER_MARK) if raw.number == 1 else raw.data
    if raw.size > MAX_LINE_BYTES:
        return _bad(raw, f"the line has {raw.size:,} bytes; at most {MAX_LINE_BYTES:,} are read: shorten it")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return _bad(raw, f"the line is not valid UTF-8 (byte 0x{data[error.start]:02x} at {error.start}): convert it")
    if line_format == "txt":
        return QueryLine(raw.number, text)
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return _bad(raw, f'the line is not JSON ({_reason(error)}); write {{"query": "..."}}')
    return parse_object(raw, found)


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _bad(raw: RawLine, message: str, line_id: Any = None) -> QueryLine:
    return QueryLine(raw.number, id=line_id, error=QueryError(message))


def parse_object(raw: RawLine, found: object) -> QueryLine:
    """The query in one JSON value; an error keeps the `id`, so that its record can be traced."""
    if not isinstance(found, dict):
        return _bad(raw, f'the line holds a JSON {type(found).__name__}, not an object; write {{"query": "..."}}')
    line_id = found.get("id")
    if line_id is not None and not (isinstance(line_id, str) or _is_number(line_id)):
        return _bad(raw, f"id must be a string or a number, got {reprlib.repr(line_id)}")
    if isinstance(line_id, str) and _encodable(line_id) != line_id:  # no Parquet file could hold the record
        return _bad(raw, f"id is not valid Unicode, got {reprlib.repr(line_id)}: give another")
    keys = [key for key in QUERY_KEYS if key in found]
    if not keys:
        have = _encodable(", ".join(list(found)[:10])[:200]) or "none"
        return _bad(raw, f"the object has no key 'query' (or 'text'); its keys: {have}", line_id)
    query = found[keys[0]]
    if not isinstance(query, str):
        return _bad(raw, f"{keys[0]} must be a string, got {reprlib.repr(query)}", line_id)
    dial = found.get("dial")
    if dial is not None and not (_is_number(dial) and 0 <= dial <= DIAL_MAX):
        error = UsageError(f"dial must be a number from 0 to {DIAL_MAX:g}, got {reprlib.repr(dial)}")
        return QueryLine(raw.number, id=line_id, error=error)
    return QueryLine(raw.number, query, line_id, dial)


def _encodable(text: str) -> str:
    """`text` with halves of surrogate pairs, which UTF-8 does not have, escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def route_lines(
    router: Router,
    lines: Iterable[QueryLine],
    *,
    dial: float | None,
    batch_size: int,
    ahead: int = 1,
    together: int | None = None,
    explain: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """One JSON record per line, in order.

    Lines read together are encoded in batches of similar length, which saves padding.

    Args:
        dial: of the lines without one; None: `options` hold a budget or a quality instead.
        ahead: batches of lines that are read together.
        together: lines that are read together and meet a budget or quality as a whole; None: validation's dial is
            taken for it.
        explain: keeps the reasons, most of a record's size.
        options: of `Router.route`.

    Raises errors about the request as a whole, such as PoolError.
    """
    options = dict(options or {}, batch_size=batch_size)
    lines = iter(lines) if dial is not None else (_without_dial(line) for line in lines)
    while batch := list(islice(lines, together or ahead * batch_size)):
        good = [line for line in batch if line.error is None]
        routed = _route_together(router, good, options) if together else _route(router, good, dial, options)
        found = dict(zip((line.number for line in good), routed, strict=True))
        for line in batch:
            yield _record(line, found.get(line.number, line.error), explain)


def _without_dial(line: QueryLine) -> QueryLine:
    if line.dial is None:
        return line
    error = UsageError(f"the line has dial {line.dial:g}, but the request a budget or a quality: leave one out")
    return QueryLine(line.number, id=line.id, error=error)


def _route(
    router: Router, lines: Sequence[QueryLine], dial: float | None, options: Mapping[str, Any]
) -> list[Decision | RouterError]:
    """A decision or an error for each line; a batch that fails is halved until the line at fault stands alone."""
    if not lines:
        return []
    queries = [line.query for line in lines]
    try:
        if dial is None:  # an iterator: validation's dial
            return list(router.route(iter(queries), **options))
        return list(router.route(queries, dial=[dial if line.dial is None else line.dial for line in lines], **options))
    except PER_QUERY as error:
        if len(lines) == 1:
            error.index = None  # the record names the line
            return [error]
    half = len(lines) // 2
    return _route(router, lines[:half], dial, options) + _route(router, lines[half:], dial, options)


def _route_together(
    router: Router, lines: Sequence[QueryLine], options: Mapping[str, Any]
) -> list[Decision | RouterError]:
    """As `_route`, but the lines meet a goal as a whole; bad lines are found with a dial, the others routed again."""
    if not lines:
        return []
    try:
        return list(router.route([line.query for line in lines], **options))
    except UsageError as error:
        raise UsageError(f"lines {lines[0].number} to {lines[-1].number}: {error}") from error
    except PER_QUERY:
        by_dial = {name: value for name, value in options.items() if name not in GOALS}
        found = _route(router, lines, 0.0, by_dial)
    good = [line for line, each in zip(lines, found, strict=True) if isinstance(each, Decision)]
    routed = iter(_route_together(router, good, options))
    return [next(routed) if isinstance(each, Decision) else each for each in found]


def _record(line: QueryLine, found: Decision | RouterError | None, explain: bool) -> dict[str, Any]:
    record: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "line": line.number}
    if line.id is not None:
        record["id"] = line.id
    if isinstance(found, Decision):
        record |= found.to_json()
        if not explain:
            record.pop("reasons", None)
    else:
        record["error"] = {"type": type(found).__name__, "message": str(found)}
    return record


def encode_record(record: Mapping[str, Any]) -> bytes:
    """A record as one line of ASCII JSON, its line end included; ValueError for NaN, which JSON does not have."""
    return json.dumps(record, allow_nan=False).encode() + b"\n"
