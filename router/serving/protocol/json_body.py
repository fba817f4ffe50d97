"""Strict JSON request bodies: parsed within limits, and edited at one key while all other bytes stay.

This module knows no key by name. It decodes with the standard library and refuses its extensions (NaN, Infinity).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # the C scanner of strings, public by use
from typing import Any, NoReturn

from router.errors import BodyError

_SPACE = re.compile(r"[ \t\n\r]*")
MAX_DEPTH = 64  # arrays and objects inside each other
MAX_BRACKETS = 1_000_000  # also in strings; each may become an object, and parsing blocks all other requests
MAX_CONTAINERS, MAX_VALUES = 50_000, 1_000_000  # arrays and objects; their values: more than any model reads
MAX_KEYS = 1000  # of the outer object, read one by one; requests of the protocol have less than 100


@dataclass(frozen=True)
class JsonBody:
    """A JSON object, its text, and the positions of its values in the text."""

    text: str
    values: Mapping[str, Any]
    spans: Mapping[str, Sequence[tuple[int, int]]]  # (start, end) by key, one for each time the key is given

    def with_value(self, key: str, value: str) -> bytes:
        """The body with another value of `key`, wherever the key is given; all other bytes stay.

        >>> read_body(b'{"a": 1.0, "model" :"auto", "b": "\\\\u00e9"}').with_value("model", "large")
        b'{"a": 1.0, "model" :"large", "b": "\\\\u00e9"}'
        """
        parts, at = [], 0
        for start, end in self.spans[key]:
            parts += [self.text[at:start], json.dumps(value)]
            at = end
        return "".join([*parts, self.text[at:]]).encode()


def read_body(raw: bytes, max_depth: int = MAX_DEPTH) -> JsonBody:
    """The JSON object in `raw`. Raises BodyError for anything else and for more than `max_depth` levels."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BodyError(f"the body is not UTF-8 (byte {error.start}); send a JSON object in UTF-8") from None
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise BodyError(f"the body has more than {MAX_BRACKETS:,} opening brackets: send less at a time")
    try:
        values, spans = _object(text)
    except json.JSONDecodeError as error:
        raise BodyError(f"the body is not a JSON object: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise BodyError(f"the body nests too deeply; at most {max_depth} levels are read") from None
    except ValueError as error:  # a number of more digits than Python converts, or NaN
        raise BodyError(f"the body is not JSON that can be read: {error}") from None
    _check_shape(values, max_depth)
    return JsonBody(text, values, spans)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _object(text: str) -> tuple[dict[str, Any], dict[str, list[tuple[int, int]]]]:
    """The values of the object in `text`, the last one of a repeated key, and the spans of all."""
    values: dict[str, Any] = {}
    spans: dict[str, list[tuple[int, int]]] = {}
    keys, sign, at = 0, "", _behind(text, 0, "{")
    if text[at : at + 1] == "}":
        sign, at = "}", at + 1
    while sign != "}":
        key, at = scanstring(text, _behind(text, at, '"', space=False), True)
        start = _behind(text, at, ":")
        values[key], end = _DECODER.raw_decode(text, start)
        spans.setdefault(key, []).append((start, end))
        keys += 1
        if keys > MAX_KEYS:
            raise ValueError(f"it has more than {MAX_KEYS:,} keys")
        at = _skip(text, end)
        sign = "}" if text[at : at + 1] == "}" else ","
        at = _behind(text, at, sign)
    if (at := _skip(text, at)) != len(text):
        raise json.JSONDecodeError("more follows after the object", text, at)
    return values, spans


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # the pattern matches the empty string, too


def _behind(text: str, at: int, sign: str, *, space: bool = True) -> int:
    """The position behind space, `sign`, and the space that may follow."""
    at = _skip(text, at)
    if text[at : at + 1] != sign:
        raise json.JSONDecodeError(f"expected {sign}", text, at)
    return _skip(text, at + 1) if space else at + 1


def _check_shape(value: object, max_depth: int) -> None:
    level: list[Any] = [value]
    containers = values = 0
    for _ in range(max_depth + 1):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        containers += len(level)
        values += sum(map(len, level))
        if containers > MAX_CONTAINERS or values > MAX_VALUES:
            raise BodyError(
                f"the body has more than {MAX_CONTAINERS:,} arrays and objects, or {MAX_VALUES:,} values: send less"
            )
        if not level:
            return
    raise BodyError(f"the body nests too deeply; at most {max_depth} levels are read")
