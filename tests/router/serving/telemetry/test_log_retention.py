"""Retention of the decision log: only the oldest decisions are deleted, by size and by age, in small steps."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fixtures.decision_logs import decision, disk_used, rows, running, until

from router.serving.telemetry import decision_log, sqlite_log
from router.serving.telemetry.decision_log import LEAST_MAX_BYTES, DecisionLog
from router.serving.telemetry.log_rows import OutcomeRow, Row
from router.serving.telemetry.sqlite_log import LogFile

PADDING = {"padding": "x" * 10_000}
# The tables of the first version of the program; do not adapt them to the present version.
VERSION_1 = """
CREATE TABLE decisions (
    id TEXT PRIMARY KEY, time_s REAL NOT NULL, model TEXT NOT NULL, quality REAL, cost_usd REAL,
    session TEXT, key_id TEXT, prompt TEXT, prompt_hmac TEXT, route TEXT NOT NULL
);
CREATE INDEX decisions_by_time ON decisions (time_s);
CREATE TABLE outcomes (
    decision_id TEXT NOT NULL, attempt INTEGER NOT NULL, upstream TEXT NOT NULL, status INTEGER, error TEXT,
    input_tokens INTEGER, output_tokens INTEGER, cost_usd REAL, latency_s REAL, possibly_billed INTEGER NOT NULL,
    PRIMARY KEY (decision_id, attempt)
);
CREATE TABLE feedback (decision_id TEXT PRIMARY KEY, time_s REAL NOT NULL, score REAL NOT NULL, comment TEXT);
INSERT INTO decisions VALUES ('old', 10.0, 'small', 0.5, 0.1, NULL, NULL, NULL, NULL, '{}');
INSERT INTO decisions VALUES ('new', 90.0, 'small', 0.5, 0.1, NULL, NULL, NULL, NULL, '{}');
INSERT INTO outcomes VALUES ('old', 1, 'eu', 200, NULL, 1, 1, 0.1, 0.1, 0);
INSERT INTO outcomes VALUES ('new', 1, 'eu', 200, NULL, 1, 1, 0.1, 0.1, 0);
INSERT INTO feedback VALUES ('old', 11.0, 1.0, NULL);
PRAGMA application_id = 1229214257;
PRAGMA user_version = 1;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.db"


def fill(log: DecisionLog, numbers: Iterable[int]) -> None:
    """Write a decision of 10 kB with an outcome for each number, which is its id and its time."""
    for number in numbers:
        log.put(decision(str(number), time_s=float(number), route=PADDING, prompt=None))
        log.put(OutcomeRow(str(number), 1, "eu", 200))
    until(lambda: log.waiting == 0)


def kept(path: Path) -> list[int]:
    return [int(name) for (name,) in rows(path, "SELECT id FROM decisions ORDER BY time_s")]


def test_at_the_limit_the_oldest_decisions_make_room_for_new_ones_and_the_file_stays_within_it(path: Path) -> None:
    with running(path, max_bytes=LEAST_MAX_BYTES) as log:
        for start in range(0, 5000, 500):
            fill(log, range(start, start + 500))
            assert log.feedback(str(start + 499), 1)
            assert disk_used(path) <= LEAST_MAX_BYTES
        until(lambda: log.waiting == 0)
        assert (log.dropped, log.full) == (0, False)
        assert log.get("0") is None
        assert not log.feedback("0", 1)  # as of a decision that never was
        assert log.get("4999") is not None
        left = kept(path)
        assert left == list(range(5000 - len(left), 5000))
        assert len(left) > 250
        assert log.deleted == 5000 - len(left)
        for table in ("outcomes", "feedback"):
            assert rows(path, f"SELECT count(*) FROM {table} WHERE decision_id NOT IN (SELECT id FROM decisions)") == [
                (0,)
            ]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_no_more_is_deleted_than_makes_room_however_long_the_prompts_are(path: Path) -> None:
    with running(path, max_bytes=LEAST_MAX_BYTES, store_prompts=True) as log:
        for number in range(20):
            log.put(decision(str(number), time_s=float(number), prompt="x" * 2**20))
        until(lambda: log.waiting == 0)
        left = kept(path)
        assert left == list(range(20 - len(left), 20))
        assert len(left) >= 3
        assert log.dropped == 0


class Clock:
    """A clock that a test moves."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_decision_is_deleted_once_it_is_too_old_whatever_room_there_is(path: Path) -> None:
    clock = Clock()
    log = DecisionLog(path, max_age_s=100.0, when_full="refuse", clock=clock)
    log.start()
    try:
        for number in (899, 900, 901):
            log.put(decision(str(number), time_s=float(number)))
            log.put(OutcomeRow(str(number), 1, "eu", 200))
        until(lambda: log.deleted == 1)
        assert kept(path) == [900, 901]  # as old as is allowed stays
        assert not log.feedback("899", 1)
        clock.now_s = 1000.5
        until(lambda: log.deleted == 2)
        assert rows(path, "SELECT decision_id FROM outcomes") == [("901",)]
        clock.now_s = 2000.0
        until(lambda: log.deleted == 3)
        assert kept(path) == []
        assert log.dropped == 0
    finally:
        log.close()


def test_without_an_age_a_decision_of_any_is_kept(path: Path) -> None:
    with running(path) as log:
        log.put(decision("0", time_s=0.0))
        until(lambda: log.waiting == 0)
    with running(path) as log:
        assert log.get("0") is not None
        assert log.deleted == 0


def test_what_is_deleted_goes_in_small_steps_and_rows_are_written_in_between(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(path) as log:
        fill(log, range(35))
    steps: list[tuple[str, int]] = []
    delete, write = LogFile.delete_oldest, LogFile.write

    def deleting(file: LogFile, most: int, *limits: float) -> int:
        if not steps:
            log.put(decision("100", time_s=100.0))
        steps.append(("deleted", delete(file, most, *limits)))
        return steps[-1][1]

    def writing(file: LogFile, some: Iterable[Row]) -> int:
        steps.append(("wrote", len(list(some))))
        return write(file, some)

    monkeypatch.setattr(decision_log, "MOST_DELETED", 10)
    monkeypatch.setattr(LogFile, "delete_oldest", deleting)
    monkeypatch.setattr(LogFile, "write", writing)
    log = DecisionLog(path, max_age_s=50.0, clock=lambda: 99.0)
    log.start()
    until(lambda: log.deleted == 35)
    log.close()
    assert [count for step, count in steps if step == "deleted" and count] == [10, 10, 10, 5]
    assert ("wrote", 1) in steps[: steps.index(("deleted", 5))]
    assert kept(path) == [100]


def test_a_log_that_is_closed_while_much_is_to_be_deleted_ends_after_one_step(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(path) as log:
        fill(log, range(35))
    monkeypatch.setattr(decision_log, "MOST_DELETED", 10)
    monkeypatch.setattr(decision_log, "COMMIT_EVERY_S", 1000.0)  # the only round is the one of `close`
    log = DecisionLog(path, max_age_s=50.0, clock=lambda: 99.0)
    log.start()
    log.close()
    assert kept(path) == list(range(10, 35))


def test_what_becomes_of_a_deleted_decision_later_is_not_kept(path: Path) -> None:
    log = DecisionLog(path, max_age_s=50.0, clock=lambda: 99.0)
    log.start()
    log.put(decision("0", time_s=0.0))
    until(lambda: log.deleted == 1)
    log.put(OutcomeRow("0", 1, "eu", 200))  # of a stream that took long
    log.close()
    assert rows(path, "SELECT (SELECT count(*) FROM decisions), (SELECT count(*) FROM outcomes)") == [(0, 0)]
    assert log.dropped == 0


def test_a_log_of_the_first_version_opens_unchanged_and_is_kept_within_its_age(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
    with running(path) as log:
        assert [(log.get(name) or {})["outcomes"][0]["status"] for name in ("old", "new")] == [200, 200]
    schema = rows(path, "SELECT sql FROM sqlite_master ORDER BY name")
    log = DecisionLog(path, max_age_s=50.0, clock=lambda: 99.0)
    log.start()
    until(lambda: log.deleted == 1)
    log.close()
    assert rows(path, "SELECT decision_id FROM outcomes") == [("new",)]
    assert rows(path, "SELECT count(*) FROM feedback") == [(0,)]
    assert rows(path, "SELECT sql FROM sqlite_master ORDER BY name") == schema


def test_a_log_above_a_smaller_limit_is_brought_within_it_and_no_new_row_is_lost(path: Path) -> None:
    with running(path) as log:
        fill(log, range(3000))
    with running(path, max_bytes=LEAST_MAX_BYTES) as log:
        fill(log, range(3000, 3010))
        assert log.dropped == 0
        assert log.get("3000") is not None
        until(lambda: log.deleted >= 2000)
        assert kept(path)[-1] == 3009
        assert len(kept(path)) > 250


def test_a_long_read_by_an_operator_costs_no_logged_decision_and_its_end_makes_room_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_log, "BUSY_S", 0.01)
    with running(path, max_bytes=LEAST_MAX_BYTES) as log:
        fill(log, range(100))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as operator:
            operator.execute("BEGIN")
            operator.execute("SELECT count(*) FROM decisions").fetchall()  # the write-ahead log grows from here on
            fill(log, range(100, 3000))
            assert log.dropped > 0
            before = kept(path)
            assert len(before) > 250
            log.put(decision("9999", time_s=9999.0))
            until(lambda: log.waiting == 0)
            assert kept(path) == before
        until(lambda: "writes again" in caplog.text)
        fill(log, [10_000])
        assert log.get("10000") is not None


def test_nothing_is_deleted_from_a_file_that_was_moved_away(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock, moved = Clock(), path.with_name("moved.db")
    log = DecisionLog(path, max_age_s=100.0, clock=clock)
    log.start()
    try:
        fill(log, [950])
        path.rename(moved)
        until(lambda: "No such file" in caplog.text)
        clock.now_s = 2000.0
        log._write_some()
        assert log.deleted == 0
        moved.rename(path)
        until(lambda: log.deleted == 1)
    finally:
        log.close()


def test_that_deleting_began_is_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = DecisionLog(path, max_age_s=50.0, clock=lambda: 99.0)
    log.start()
    for count in (1, 2):
        log.put(decision("0", time_s=0.0))
        until(lambda count=count: log.deleted == count)
    log.close()
    told: list[Any] = [each for each in caplog.messages if "deleted" in each]
    assert len(told) == 1
