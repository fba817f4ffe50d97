"""Decision log: a queue of rows and a thread that writes them, so that no request waits for the disk.

This module decides when to write and what to do without room; `router.serving.telemetry.sqlite_log` is the file. Rows
are written four times a second, so a kill of the process loses none older than a second. `close` writes all rows.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from router.errors import RouterError, UsageError
from router.files import local_secret
from router.serving.telemetry.log_rows import DecisionRow, FeedbackRow, Row, columns_of
from router.serving.telemetry.sqlite_log import LogFile

logger = logging.getLogger(__name__)

MIB = 2**20
LEAST_MAX_BYTES = 16 * MIB
RESERVE_BYTES = 4 * MIB  # of the limit, for the present transaction and the growth of the write-ahead log
WAL_BYTES = 8 * MIB  # of the limit, with delete_oldest: for a write-ahead log of the usual size
MOST_DELETED = 256  # decisions in one transaction
REFUSE_FROM = 0.9  # share of the limit above which new requests are refused; the rest is for those in progress
COMMIT_EVERY_S = 0.25
TOGETHER = 256  # rows in one transaction
LARGEST_TRANSACTION = MIB  # characters of prompts in one transaction
MOST_WAITING, MOST_WAITING_CHARS = 20_000, 64 * MIB  # rows in the queue; characters of their prompts


class DecisionLog:
    """A log that takes rows from any thread without waiting for the disk. Call `start` first and `close` last."""

    def __init__(
        self,
        path: str | Path,
        *,
        max_bytes: int = 1024 * MIB,
        max_age_s: float | None = None,
        when_full: Literal["delete_oldest", "drop", "refuse"] = "delete_oldest",
        store_prompts: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Opens no file yet. `max_bytes` bounds the file with its write-ahead log, `max_age_s` the age of decisions.

        At the limit "delete_oldest" deletes the oldest decisions, "drop" drops and counts new rows, "refuse" sets
        `full` a little earlier, so that the requests in progress can still be logged. While the disk fails,
        "delete_oldest" works like "drop". Raises UsageError for a value that is not allowed.
        """
        if max_bytes < LEAST_MAX_BYTES:
            raise UsageError(f"max_bytes: got {max_bytes:,}, allowed are {LEAST_MAX_BYTES:,} and more")
        if max_age_s is not None and not max_age_s > 0:
            raise UsageError(f"max_age_s: got {max_age_s!r}, allowed is a number above 0")
        if when_full not in ("delete_oldest", "drop", "refuse"):
            raise UsageError(f"when_full: got {when_full!r}, allowed are delete_oldest, drop and refuse")
        self.path, self.max_bytes, self.max_age_s, self.when_full = Path(path), max_bytes, max_age_s, when_full
        self._store_prompts, self._clock = store_prompts, clock
        self._lock = threading.Lock()  # guards the fields below; never held during disk access
        self._rows: deque[Row] = deque()  # the oldest first; a row stays until it is committed
        self._chars = 0  # of their prompts
        self.dropped = 0  # rows, since the start
        self.deleted = 0  # decisions, since the start, with their outcomes and feedback
        self._closed = False
        self._used_bytes = 0
        self._trouble: str | None = None  # why rows cannot be written at present
        self._stop = threading.Event()
        self._writer = threading.Thread(target=self._write_until_closed, name="decision-log", daemon=True)

    def start(self) -> None:
        """Open the file and begin to write. Raises UsageError if the file cannot be used."""
        if not self.path.parent.is_dir():
            raise UsageError(f"the decision log {self.path}: there is no folder {self.path.parent}; make it first")
        secret = local_secret(self.path.with_name(self.path.name + ".key"))
        self._file = LogFile(self.path, lambda row: columns_of(row, secret, self._store_prompts))
        self._used_bytes = self._file.used_bytes()
        self._writer.start()

    def put(self, row: Row) -> bool:
        """Log a decision, the outcome of an attempt or feedback; False where there is no room. Does not block."""
        chars = _chars(row)
        with self._lock:
            if self._closed or len(self._rows) >= MOST_WAITING or self._chars + chars > MOST_WAITING_CHARS:
                self.dropped += 1
                return False
            self._rows.append(row)
            self._chars += chars
        return True

    def feedback(self, decision_id: str, score: float, comment: str | None = None) -> bool:
        """Attach a score in [0, 1], replacing an earlier one; False for an unknown decision. Reads the disk.

        Raises RouterError if the log has no room.
        """
        if self.get(decision_id) is None:
            return False
        if self._trouble or not self.put(FeedbackRow(decision_id, self._clock(), float(score), comment)):
            raise RouterError("the decision log has no room at present, the feedback was not kept: try again later")
        return True

    def get(self, decision_id: str) -> dict[str, Any] | None:
        """The decision with its outcomes and feedback, None if unknown. Reads the queue and the disk."""
        if not decision_id.isascii():  # no id of this log, and SQLite may refuse it
            return None
        with self._lock:
            waiting = list(self._rows)
        return self._file.read(decision_id, [row for row in waiting if row.decision_id == decision_id])

    @property
    def full(self) -> bool:
        """Whether new requests must be refused, which only the policy "refuse" does."""
        if self.when_full != "refuse":
            return False
        waiting = len(self._rows) >= 0.75 * MOST_WAITING or self._chars >= 0.75 * MOST_WAITING_CHARS
        return waiting or self._trouble is not None or self._used_bytes >= REFUSE_FROM * self._room

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return len(self._rows)

    def close(self) -> None:
        """Write every waiting row, then close the file. Later rows are dropped."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._stop.set()
        if self._writer.ident is None:
            return  # never started
        self._writer.join()
        self._file.close()
        if self._rows:
            self.dropped += len(self._rows)
            logger.error("decision log %s: %d rows are lost: %s", self.path, len(self._rows), self._trouble)
            self._rows.clear()

    @property
    def _room(self) -> int:
        return self.max_bytes - RESERVE_BYTES

    def _write_until_closed(self) -> None:
        """The writer thread. It polls: a wake-up for each row would cost the requests more."""
        stopping = False
        while not stopping:
            stopping = self._stop.wait(COMMIT_EVERY_S)
            while self._write_some():
                pass

    def _write_some(self) -> bool:
        """Delete some decisions that are due, write the oldest waiting rows; whether there may be more to do now."""
        rows = self._oldest()
        try:
            more = self._delete_some()
            room = self._has_room()
            if not rows:
                if room:
                    self._recovered()
                return more and not self._stop.is_set()
            if more and not room:
                return True  # the rows wait for the next call
            bad = self._file.write(rows) if room else 0
        except (sqlite3.Error, OSError) as error:
            self._failed(f"{error}; rows wait, up to {MOST_WAITING:,} of them")
            return False
        if room:
            self._recovered()
            with suppress(sqlite3.Error, OSError):  # the rows are written; the next round reports the error
                self._used_bytes = self._file.used_bytes()  # now, so that `full` counts these rows
        else:
            self._failed(f"{self._used_bytes:,} bytes are used of max_bytes {self.max_bytes:,}; rows are dropped")
        if bad:
            logger.error("decision log %s: %d rows hold what cannot be written; they are dropped", self.path, bad)
        with self._lock:
            for row in rows:
                self._rows.popleft()
                self._chars -= _chars(row)
            self.dropped += bad if room else len(rows)
        return True

    def _delete_some(self) -> bool:
        """Delete a bounded number of the oldest decisions if age or size demands it; whether more may be due."""
        before_s = -math.inf if self.max_age_s is None else self._clock() - self.max_age_s
        most_bytes = self._room - WAL_BYTES if self.when_full == "delete_oldest" else math.inf
        deleted = self._file.delete_oldest(MOST_DELETED, before_s, most_bytes)
        if deleted and not self.deleted:
            logger.info("decision log %s: the oldest decisions are deleted from now on, for age or size", self.path)
        self.deleted += deleted
        return deleted == MOST_DELETED

    def _has_room(self) -> bool:
        self._used_bytes = self._file.used_bytes()
        if self._used_bytes >= self._room:
            self._file.empty_wal()
            self._used_bytes = self._file.used_bytes()
        return self._used_bytes < self._room

    def _oldest(self) -> list[Row]:
        """The rows of the next transaction."""
        with self._lock:
            rows = list(islice(self._rows, TOGETHER))
        chars = 0
        for count, row in enumerate(rows, 1):
            chars += _chars(row)
            if chars > LARGEST_TRANSACTION:
                return rows[:count]
        return rows

    def _failed(self, why: str) -> None:
        """Log a trouble once, until it is over."""
        if self._trouble is None:
            logger.error("decision log %s: %s", self.path, why)
        self._trouble = why

    def _recovered(self) -> None:
        if self._trouble is not None:
            logger.warning("decision log %s: writes again; %d rows were dropped so far", self.path, self.dropped)
        self._trouble = None


def _chars(row: Row) -> int:
    return len(row.prompt or "") if isinstance(row, DecisionRow) else 0
