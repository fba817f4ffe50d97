"""Decision log: no loss of rows older than a second, no waiting requests, one clear error for a bad file."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from fixtures.decision_logs import ROUTE, decision, disk_used, rows, running, until

from router.errors import RouterError, UsageError
from router.serving.telemetry import decision_log, sqlite_log
from router.serving.telemetry.decision_log import LEAST_MAX_BYTES, DecisionLog
from router.serving.telemetry.log_rows import OutcomeRow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.db"


def test_a_decision_its_outcomes_and_feedback_come_back_as_one_both_before_and_after_they_are_written(
    path: Path,
) -> None:
    with running(path) as log:
        log.put(decision("a"))
        log.put(OutcomeRow("a", 2, "eu", 200, None, 10, 20, 0.002, 1.5))
        log.put(OutcomeRow("a", 1, "us", None, "timeout", latency_s=9.0, possibly_billed=True))
        assert log.feedback("a", 1, "good")
        at_once = log.get("a")
        until(lambda: log.waiting == 0)
        assert log.get("a") == at_once
        log.put(OutcomeRow("a", 3, "eu", 200))
        assert [each["attempt"] for each in (log.get("a") or {})["outcomes"]] == [1, 2, 3]  # written and waiting
        assert log.get("b") is None
    assert at_once is not None
    assert at_once["route"] == ROUTE
    assert (at_once["model"], at_once["quality"], at_once["session"], at_once["key_id"]) == (
        "small",
        0.75,
        "session",
        "key",
    )
    first, second = at_once["outcomes"]
    assert (first["error"], first["possibly_billed"], first["status"]) == ("timeout", True, None)
    assert (second["output_tokens"], second["cost_usd"], second["possibly_billed"]) == (20, 0.002, False)
    assert at_once["feedback"] == {"decision_id": "a", "time_s": 99.0, "score": 1.0, "comment": "good"}


def test_prompts_are_kept_as_digests_with_a_local_key_unless_asked_for(path: Path, tmp_path: Path) -> None:
    with running(path) as log:
        for name, prompt in (("a", "secret plan"), ("b", "secret plan"), ("c", "another"), ("d", None)):
            log.put(decision(name, prompt=prompt))
    assert b"secret plan" not in path.read_bytes()
    digests = [digest for (digest,) in rows(path, "SELECT prompt_hmac FROM decisions ORDER BY id")]
    assert digests[0] == digests[1] != digests[2]
    assert [len(digests[0]), digests[3]] == [64, None]
    key = path.with_name("decisions.db.key")
    assert [each.stat().st_mode & 0o777 for each in (path, key)] == [0o600, 0o600]
    other = tmp_path / "other.db"
    with running(other) as log:
        log.put(decision("a", prompt="secret plan"))
    assert rows(other, "SELECT prompt_hmac FROM decisions")[0][0] != digests[0]  # of another key
    stored = tmp_path / "stored.db"
    with running(stored, store_prompts=True) as log:
        log.put(decision("a", prompt="half a pair: \ud83d"))
    assert rows(stored, "SELECT prompt, prompt_hmac FROM decisions") == [("half a pair: ?", None)]


def test_closing_writes_all_that_waits_and_a_log_is_continued(path: Path) -> None:
    for start in (0, 3000):
        with running(path) as log:
            for number in range(start, start + 3000):
                log.put(decision(str(number)))
    assert rows(path, "SELECT count(*) FROM decisions") == [(6000,)]
    assert not path.with_name("decisions.db-wal").exists()


def test_a_row_that_comes_after_the_end_is_counted_as_dropped(path: Path) -> None:
    with running(path) as log:
        pass
    log.put(decision("late"))
    log.close()
    assert log.dropped == 1


def test_feedback_needs_a_known_decision_and_a_score_and_the_last_word_counts(path: Path) -> None:
    with running(path) as log:
        assert not log.feedback("a", 0.5)
        log.put(decision("a"))
        assert log.feedback("a", 0.5, "so so")
        until(lambda: log.waiting == 0)
        assert log.feedback("a", 0.25)
    assert rows(path, "SELECT score, comment FROM feedback") == [(0.25, None)]


def test_an_id_that_a_client_made_up_is_unknown(path: Path) -> None:
    with running(path) as log:
        log.put(decision("a"))
        until(lambda: log.waiting == 0)
        assert log.get("a' OR '1'='1") is None
        assert log.get("a\x00") is None
        assert log.get("\ud800") is None


def test_rows_that_no_table_can_hold_are_counted_and_harm_no_other(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(path) as log:
        log.put(decision("a"))
        log.put(decision("b", route={"quality": float("nan")}))
        log.put(decision("c", route={"what": object()}))
        log.put(decision("d", quality=[1]))
        log.put(OutcomeRow("a", 1, "eu", input_tokens=2**70))
        log.put(decision("e"))
        assert log.get("b") is None
    assert log.dropped == 4
    assert rows(path, "SELECT id FROM decisions ORDER BY id") == [("a",), ("e",)]
    assert "hold what cannot be written" in caplog.text


def test_long_error_texts_are_shortened(path: Path) -> None:
    with running(path) as log:
        log.put(decision("a"))
        log.put(OutcomeRow("a", 1, "eu", 500, "x" * 100_000))
    assert rows(path, "SELECT length(error) FROM outcomes") == [(2000,)]


def fill(log: DecisionLog, bytes_: int, name: str = "fill") -> None:
    """Decisions that take about so many bytes on the disk."""
    route = {"padding": "x" * 10_000}
    for number in range(bytes_ // 10_000):
        log.put(decision(f"{name}{number}", route=route, prompt=None))


def test_at_the_limit_rows_are_dropped_counted_and_it_is_said_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(path, max_bytes=LEAST_MAX_BYTES, when_full="drop") as log:
        fill(log, 3 * LEAST_MAX_BYTES // 2)
        until(lambda: log.waiting == 0)
        assert disk_used(path) <= LEAST_MAX_BYTES
        dropped = log.dropped
        assert dropped > 0
        assert not log.full
        log.put(decision("more"))
        until(lambda: log.dropped == dropped + 1)
        with pytest.raises(RouterError, match="no room"):
            log.feedback("fill0", 1)
        assert caplog.text.count("rows are dropped") == 1
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("DELETE FROM decisions")  # what an operator may do
            db.commit()
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        until(lambda: "writes again" in caplog.text)
        log.put(decision("again"))
        until(lambda: log.waiting == 0)
        assert log.get("again") is not None


def test_with_the_other_policy_requests_are_refused_before_rows_would_be_lost(path: Path) -> None:
    with running(path, max_bytes=LEAST_MAX_BYTES, when_full="refuse") as log:
        assert not log.full
        for number in range(20):
            fill(log, 2**20, f"fill{number}-")
            until(lambda: log.waiting == 0)
            if log.full:
                break
        log.put(decision("under way"))  # was admitted before
        until(lambda: log.waiting == 0)
        assert log.dropped == 0
        assert log.full
    assert rows(path, "SELECT count(*) FROM decisions WHERE id = 'under way'") == [(1,)]


def test_a_log_is_full_as_soon_as_the_rows_that_fill_it_wait_no_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []

    class Watched(deque[Any]):
        def popleft(self) -> Any:
            seen.append((log.full, log._file.used_bytes()))
            return super().popleft()

    log = DecisionLog(path, max_bytes=LEAST_MAX_BYTES, when_full="refuse")
    log._rows = Watched()
    log.start()
    try:
        fill(log, LEAST_MAX_BYTES)
        until(lambda: log.waiting == 0)
    finally:
        log.close()
    limit = decision_log.REFUSE_FROM * log._room
    assert {used >= limit for _, used in seen} == {True, False}
    assert all(full == (used >= limit) for full, used in seen)


def test_a_log_that_has_reached_the_limit_is_full_from_the_start(path: Path) -> None:
    with running(path) as log:
        fill(log, LEAST_MAX_BYTES)
    with running(path, max_bytes=LEAST_MAX_BYTES, when_full="refuse") as log:
        assert log.full


def test_rows_wait_while_another_process_holds_the_file_and_what_is_too_much_is_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decision_log, "MOST_WAITING", 100)
    with running(path, when_full="refuse") as log:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for number in range(150):
                log.put(decision(str(number)))
            assert log.full
            assert log.dropped == 50
            assert log.get("99") is not None
            until(lambda: "database is locked" in caplog.text)
            other.execute("ROLLBACK")
        until(lambda: log.waiting == 0)
        assert not log.full
        assert caplog.text.count("locked") == 1
    assert rows(path, "SELECT count(*) FROM decisions") == [(100,)]


def test_no_caller_waits_for_a_write_that_does_not_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = threading.Event(), threading.Event()
    with running(path) as log:
        write = log._file.write

        def held(rows: list[Any]) -> int:
            begun.set()
            may_end.wait()
            return write(rows)

        def call() -> None:
            log.put(decision("0"))
            if begun.wait(60):
                for number in range(1, 150):
                    log.put(decision(str(number)))
                    log.put(OutcomeRow(str(number), 1, "eu", 200))

        monkeypatch.setattr(log._file, "write", held)
        caller = threading.Thread(target=call, daemon=True)
        caller.start()
        try:
            caller.join(120)
            assert (begun.is_set(), caller.is_alive()) == (True, False)
            assert log.waiting == 150 + 149
            assert log.get("149") is not None
        finally:
            may_end.set()
            caller.join(60)
    assert rows(path, "SELECT count(*) FROM decisions") == [(150,)]


def test_prompts_that_wait_are_bounded_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_log, "MOST_WAITING_CHARS", 1000)
    log = DecisionLog(path)  # not started: nothing is taken from the queue
    for number in range(10):
        log.put(decision(str(number), prompt="x" * 300))
    assert (log.waiting, log.dropped) == (3, 7)
    log.close()


def test_many_threads_may_write_and_read_at_once(path: Path) -> None:
    with running(path) as log:

        def work(name: int) -> None:
            for number in range(200):
                log.put(decision(f"{name}-{number}"))
                log.put(OutcomeRow(f"{name}-{number}", 1, "eu", 200))
                assert (log.get(f"{name}-{number}") or {})["outcomes"][0]["status"] == 200

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert rows(path, "SELECT (SELECT count(*) FROM decisions), (SELECT count(*) FROM outcomes)") == [(800, 800)]


WRITES_UNTIL_KILLED = """
import sys, time
from router.serving.telemetry.decision_log import DecisionLog
from router.serving.telemetry.log_rows import DecisionRow, OutcomeRow
log = DecisionLog(sys.argv[1])
log.start()
number = 0
while True:
    log.put(DecisionRow(str(number), time.time(), {}, "small", 0.5, 0.1))
    log.put(OutcomeRow(str(number), 1, "eu", 200))
    print(number, time.monotonic(), flush=True)
    number += 1
    time.sleep(0.002)
"""


def test_a_process_killed_outright_loses_no_row_older_than_a_second(path: Path) -> None:
    command = [sys.executable, "-c", WRITES_UNTIL_KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]  # it writes
        threading.Timer(1.7, lambda: os.kill(process.pid, signal.SIGKILL)).start()
        lines += process.stdout.readlines()
        killed = time.monotonic()
    assert process.returncode == -signal.SIGKILL
    written = [(int(number), float(when)) for number, when in (line.split() for line in lines if line.endswith("\n"))]
    old = [number for number, when in written if when < killed - 1.0]
    assert len(old) > 50
    with running(path) as log:  # opens what the kill left
        assert [number for number in old if log.get(str(number)) is None] == []
        assert len((log.get(str(old[-1])) or {})["outcomes"]) == 1
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


DISK_FILLS_UP = """
import logging, resource, signal, sys, time
from router.serving.telemetry.decision_log import DecisionLog
from router.serving.telemetry.log_rows import DecisionRow
logging.basicConfig(format="%(message)s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = DecisionLog(sys.argv[1], when_full="refuse")
log.start()
def until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
def decide(name):
    log.put(DecisionRow(name, 1.0, {"padding": "x" * 50_000}, "small", 0.5, 0.1))
decide("before")
until(lambda: log.waiting == 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
for number in range(20):
    decide(f"meanwhile{number}")
until(lambda: log.full)
time.sleep(0.6)
assert log.waiting == 20 and log.get("meanwhile7") and log.get("before")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
until(lambda: log.waiting == 0)
assert not log.full
decide("after")
log.close()
print(log.dropped)
"""


def test_a_disk_that_takes_no_more_stops_nothing_and_once_it_does_again_all_rows_are_there(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DISK_FILLS_UP, str(path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr
    assert len([line for line in done.stderr.splitlines() if "rows wait" in line]) == 1
    assert rows(path, "SELECT count(*) FROM decisions") == [(22,)]


def test_rows_that_the_disk_never_took_are_counted_at_the_end(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = DecisionLog(path)
    log.start()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        log.put(decision("a"))
        log.close()
    assert log.dropped == 1
    assert "1 rows are lost: database is locked" in caplog.text


def test_a_file_moved_away_while_it_is_written_is_noticed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    with running(path, when_full="refuse") as log:
        log.put(decision("a"))
        until(lambda: log.waiting == 0)
        path.rename(path.with_name("moved.db"))
        until(lambda: log.full)
        log.put(decision("b"))
        path.with_name("moved.db").rename(path)
        until(lambda: log.waiting == 0)
    assert rows(path, "SELECT id FROM decisions ORDER BY id") == [("a",), ("b",)]
    assert "No such file" in caplog.text


def test_a_file_that_is_no_decision_log_is_refused_and_stays_as_it_is(path: Path) -> None:
    path.write_bytes(b"a diary, not a database, of more than sixteen bytes\n" * 100)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="cannot be opened"):
        DecisionLog(path).start()
    assert path.read_bytes() == before
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE diary (day TEXT)")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="no decision log"):
        DecisionLog(path).start()
    assert path.read_bytes() == before


def test_a_newer_a_truncated_and_a_spoilt_log_are_one_clear_error(path: Path) -> None:
    with running(path) as log:
        fill(log, 200_000)
    whole = path.read_bytes()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(UsageError, match="version 2, this program writes version 1"):
        DecisionLog(path).start()
    for content in (whole[: len(whole) // 2], whole[:4096] + b"\xff" * (len(whole) - 4096)):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="cannot be opened"):
            DecisionLog(path).start()
    path.write_bytes(whole)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE outcomes")
    with pytest.raises(UsageError, match="no such table: outcomes"):
        DecisionLog(path).start()


def test_settings_and_places_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"allowed are 16,777,216 and more"):
        DecisionLog(tmp_path / "a.db", max_bytes=1000)
    with pytest.raises(UsageError, match="allowed are delete_oldest, drop and refuse"):
        DecisionLog(tmp_path / "a.db", when_full="explode")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"max_age_s: got 0, allowed is a number above 0"):
        DecisionLog(tmp_path / "a.db", max_age_s=0)
    with pytest.raises(UsageError, match="no folder"):
        DecisionLog(tmp_path / "missing" / "a.db").start()
    with pytest.raises(UsageError, match="cannot be opened"):
        DecisionLog(tmp_path).start()


def test_two_processes_of_one_machine_may_share_a_log(path: Path) -> None:
    with running(path) as one, running(path) as other:
        one.put(decision("a"))
        other.put(decision("b"))
        until(lambda: one.get("b") and other.get("a"))
    assert json.loads(rows(path, "SELECT route FROM decisions WHERE id = 'b'")[0][0]) == ROUTE


def test_a_log_that_another_process_is_just_opening_or_closing_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_log, "BUSY_S", 0.01)
    monkeypatch.setattr(sqlite_log, "OPEN_S", 0.5)
    with running(path):
        pass
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UsageError, match="database is locked"):
        DecisionLog(path).start()
    threading.Timer(0.2, holder.close).start()
    with running(path) as log:
        log.put(decision("a"))
    assert rows(path, "SELECT count(*) FROM decisions") == [(1,)]
