"""Request bodies: strict JSON, limits, and an edit at one key that keeps all other bytes."""

from __future__ import annotations

import json

import pytest

from router.errors import BodyError
from router.serving.protocol.json_body import read_body


def test_only_the_value_of_the_key_changes_to_the_byte() -> None:
    text = '{ "x": 1.00,"model"\t:\r\n"auto" , "n": 1e5, "t": "é \\u00e9 \\ud83d\\ude00 \U0001f600", "l":[ 1,2 ]}\n'
    raw = text.encode()
    assert read_body(raw).with_value("model", "gpt-é") == raw.replace(b'"auto"', b'"gpt-\\u00e9"')


def test_a_key_given_twice_is_read_as_its_last_and_changed_everywhere() -> None:
    body = read_body(b'{"model": "a", "x": {"model": "inner"}, "mod\\u0065l": "b"}')
    assert body.values["model"] == "b"
    assert body.with_value("model", "c") == b'{"model": "c", "x": {"model": "inner"}, "mod\\u0065l": "c"}'


def test_values_are_those_of_the_standard_library() -> None:
    raw = b'{"a": [1, {"b": null}], "c": -2.5e-3, "d": {}, "": true}'
    assert read_body(raw).values == json.loads(raw)
    assert read_body(b" {} ").values == {}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not a JSON object: expected { at character 0"),
        (b"[]", "expected {"),
        (b'"text"', "expected {"),
        (b'{"a": 1', "expected , at character 7"),
        (b'{"a": 1,}', 'expected "'),
        (b'{"a" 1}', "expected :"),
        (b"{'a': 1}", 'expected "'),
        (b'{"a": }', "Expecting value"),
        (b'{"a": 1} {"b": 2}', "more follows"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": "\n"}', "Invalid control character"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read|not JSON that can be read"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "expected {"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nests too deeply; at most 64"),
        (b'{"a": [' + b"[]," * 1_000_000 + b"1]}", "more than 1,000,000 opening brackets"),
        (b'{"a": [' + b"[]," * 50_000 + b"1]}", "more than 50,000 arrays and objects"),
        (b'{"a": [' + b"1," * 1_000_000 + b"1]}", "or 1,000,000 values"),
        (b"{" + b'"a":1,' * 500_000 + b'"a":1}', "more than 1,000 keys"),
        (b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", "nests too deeply; at most 64"),
    ],
)
def test_what_is_no_json_object_is_refused_with_the_reason(raw: bytes, message: str) -> None:
    with pytest.raises(BodyError, match=message):
        read_body(raw)


def test_the_deepest_body_allowed_is_read() -> None:
    assert read_body(b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}").values


def test_a_key_given_many_times_is_changed_everywhere_and_takes_no_time() -> None:
    body = read_body(b'{"model":"auto",' + b'"model":"other",' * 900 + b'"x":1}')
    assert body.with_value("model", "m") == b"{" + b'"model":"m",' * 901 + b'"x":1}'
