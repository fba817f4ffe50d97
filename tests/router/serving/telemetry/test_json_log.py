"""Log formats: one line a record, whatever text of a client it contains."""

from __future__ import annotations

import logging
import re
import sys

import pytest

from router.serving.telemetry.json_log import JsonFormatter, PlainFormatter

ODD = ["\nrouter: request status=200", "\r\n", "\u2028x", "\x85", "\x1b[2J", "\u202e", "\ud800",
       " status=200", '"', "", "\v"]  # fmt: skip


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("router", logging.INFO, "", 0, message, (), None)
    made.fields = fields
    return made


def test_fields_of_plain_words_are_written_as_they_are() -> None:
    line = PlainFormatter().format(record("request", method="POST", path="/v1/route", status=200, ms=1.5))
    assert line == "router: request method=POST path=/v1/route status=200 ms=1.5"


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_no_clients_words_make_a_line_or_a_field(odd: str) -> None:
    for line in (
        PlainFormatter().format(record("request", path=f"/v1/x{odd}")),
        JsonFormatter().format(record("request", path=f"/v1/x{odd}")),
    ):
        assert line.isprintable()
        assert len(line.splitlines()) == 1
        assert "status=" not in re.sub(r'"(\\.|[^"\\])*"', "", line)


def test_further_lines_of_a_message_or_a_traceback_are_indented() -> None:
    try:
        raise ValueError("x\nrouter: request status=200\x1b")
    except ValueError:
        made = logging.LogRecord("router", logging.ERROR, "", 0, "failed:\nrouter: twice", (), sys.exc_info())
    first, *rest = PlainFormatter().format(made).splitlines()
    assert first == "router: failed:"
    assert any("ValueError" in line for line in rest)
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
