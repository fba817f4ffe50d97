"""Responses of an endpoint: waits and error messages."""

from __future__ import annotations

import datetime

from router.llm.transport import error_message, wait_s


def test_seconds_dates_and_milliseconds_are_read_and_else_the_wait_is_drawn_and_grows() -> None:
    now = datetime.datetime(2026, 11, 25, 12, 0, 0, tzinfo=datetime.UTC)
    assert wait_s({"retry-after": "7"}, 0, now) == 7
    assert wait_s({"retry-after": "Wed, 25 Nov 2026 12:00:30 GMT"}, 0, now) == 30
    assert wait_s({"retry-after": "Wed, 25 Nov 2026 11:00:00 GMT"}, 0, now) == 0
    assert wait_s({"retry-after-ms": "250", "retry-after": "1"}, 0, now) == 0.25
    assert 0.05 <= wait_s({"retry-after": "soon"}, 0, now) <= 0.5
    assert 6 <= wait_s({}, 30, now) <= 60


def test_error_messages_are_short_and_on_one_line() -> None:
    assert error_message('{"error": {"message": "bad\\nkey abc"}}', "abc") == "bad key ***"
    assert error_message("<html>" * 1000, None).endswith("...")
    assert error_message("", None) == "no explanation"
