"""Keeps decisions and their outcomes in a file without making a request wait: rows queue, one thread writes them.

Decides when to write and what happens when there is no room; the file itself is
`router.serving.telemetry.sqlite_log`. Rows are
written four times a second, so a kill of the process loses none older than a second, and `close` writes all.
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
from router.serving.telemetry.log_rows import DecisionRow, FeedbackRow, OutcomeRow, Row, columns_of
from router.serving.telemetry.sqlite_log import LogFile

logger = logging.getLogger(__name__)

MIB = 2**20
LEAST_MAX_BYTES = 16 * MIB
RESERVE_BYTES = 4 * MIB  # of the limit, for the transaction under way and the growth of the write-ahead log
WAL_BYTES = 8 * MIB  # of the limit, where the oldest rows make room: for a write-ahead log of the usual size
MOST_DELETED = 256  # decisions a transaction
REFUSE_FROM = 0.9  # the share of the limit from which new requests are refused; the rest is for those under way
COMMIT_EVERY_S = 0.25
TOGETHER = 256  # rows a transaction
LARGEST_TRANSACTION = MIB  # characters of prompts in one
MOST_WAITING, MOST_WAITING_CHARS = 20_000, 64 * MIB  # rows and characters of their prompts that may wait to be written
LONGEST_COMMENT = 10_000  # characters


class DecisionLog:
    """`start`, then `decided` and `outcome` from any thread: they return at once, also while the disk does not."""

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
        """Touches no file yet. `max_bytes` bounds the file with its write-ahead log, `max_age_s` the age of decisions.

        At the limit "delete_oldest" deletes the oldest decisions, "drop" leaves new rows out and counts them, "refuse"
        sets `full` a little earlier, so that what has been decided can still be written. While the disk fails, all but
        "refuse" do as "drop". Raises UsageError for a value not allowed.
        """
        if max_bytes < LEAST_MAX_BYTES:
            raise UsageError(f"max_bytes: got {max_bytes:,}, allowed are {LEAST_MAX_BYTES:,} and more")
        if max_age_s is not None and not max_age_s > 0:
            raise UsageError(f"max_age_s: got {max_age_s!r}, allowed is a number above 0")
        if when_full not in ("delete_oldest", "drop", "refuse"):
            raise UsageError(f"when_full: got {when_full!r}, allowed are delete_oldest, drop and refuse")
        self.path, self.max_bytes, self.max_age_s, self.when_full = Path(path), max_bytes, max_age_s, when_full
        self._store_prompts, self._clock = store_prompts, clock
        self._lock = threading.Lock()  # of what follows, never held while the disk is used
        self._rows: deque[Row] = deque()  # the oldest first; they stay until they are committed
        self._chars = 0  # of their prompts
        self._dropped = self._deleted = 0
        self._closed = False
        self._used_bytes = 0
        self._trouble: str | None = None  # why rows cannot be written now
        self._stop = threading.Event()
        self._writer = threading.Thread(target=self._write_until_closed, name="decision-log", daemon=True)

    def start(self) -> None:
        """Open the file and begin to write. Raises UsageError where that cannot work."""
        if not self.path.parent.is_dir():
            raise UsageError(f"the decision log {self.path}: there is no folder {self.path.parent}; make it first")
        secret = local_secret(self.path.with_name(self.path.name + ".key"))
        self._file = LogFile(self.path, lambda row: columns_of(row, secret, self._store_prompts))
        self._used_bytes = self._file.used_bytes()
        self._writer.start()

    def decided(self, row: DecisionRow) -> None:
        """Log a decision."""
        self._put(row)

    def outcome(self, row: OutcomeRow) -> None:
        """Log what became of an attempt."""
        self._put(row)

    def feedback(self, decision_id: str, score: float, comment: str | None = None) -> bool:
        """Attach a score in [0, 1] in place of an earlier one; False where no such decision is known. Reads the disk.

        Raises UsageError for a value not allowed, RouterError where the log has no room for it.
        """
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise UsageError(f"score: got {score!r}, allowed is a number from 0 to 1")
        if comment is not None and (not isinstance(comment, str) or len(comment) > LONGEST_COMMENT):
            raise UsageError(f"comment: allowed is text of at most {LONGEST_COMMENT:,} characters")
        if self.get(decision_id) is None:
            return False
        if self._trouble or not self._put(FeedbackRow(decision_id, self._clock(), float(score), comment)):
            raise RouterError("the decision log has no room at present, the feedback was not kept: try again later")
        return True

    def get(self, decision_id: str) -> dict[str, Any] | None:
        """The decision with its outcomes and feedback, written already or not; None: unknown. Reads the disk."""
        if not decision_id.isascii():  # none of ours, and maybe nothing that SQLite takes
            return None
        with self._lock:
            waiting = list(self._rows)
        return self._file.read(decision_id, [row for row in waiting if row.decision_id == decision_id])

    @property
    def full(self) -> bool:
        """Whether new requests must be refused: only where that is the policy."""
        if self.when_full != "refuse":
            return False
        waiting = len(self._rows) >= 0.75 * MOST_WAITING or self._chars >= 0.75 * MOST_WAITING_CHARS
        return waiting or self._trouble is not None or self._used_bytes >= REFUSE_FROM * self._room

    @property
    def dropped(self) -> int:
        """Rows that were left out since the start."""
        return self._dropped

    @property
    def deleted(self) -> int:
        """Decisions that were deleted since the start, with all that belonged to them."""
        return self._deleted

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return len(self._rows)

    def close(self) -> None:
        """Write every row that waits, then close the file. Rows that come later are dropped."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._stop.set()
        if self._writer.ident is None:
            return  # was never started
        self._writer.join()
        self._file.close()
        if self._rows:
            self._dropped += len(self._rows)
            logger.error("decision log %s: %d rows are lost: %s", self.path, len(self._rows), self._trouble)
            self._rows.clear()

    @property
    def _room(self) -> int:
        return self.max_bytes - RESERVE_BYTES

    def _put(self, row: Row) -> bool:
        chars = _chars(row)
        with self._lock:
            if self._closed or len(self._rows) >= MOST_WAITING or self._chars + chars > MOST_WAITING_CHARS:
                self._dropped += 1
                return False
            self._rows.append(row)
            self._chars += chars
        return True

    def _write_until_closed(self) -> None:
        """The writer thread. It looks by the clock: to be woken by each row would cost the requests more."""
        stopping = False
        while not stopping:
            stopping = self._stop.wait(COMMIT_EVERY_S)
            while self._write_some():
                pass

    def _write_some(self) -> bool:
        """Delete some decisions that are due, write the oldest rows that wait; whether more may be done at once."""
        rows = self._oldest()
        try:
            more = self._delete_some()
            room = self._has_room()
            if not rows:
                if room:
                    self._recovered()
                return more and not self._stop.is_set()
            if more and not room:
                return True  # rows wait for the next step
            bad = self._file.write(rows) if room else 0
        except (sqlite3.Error, OSError) as error:
            self._failed(f"{error}; rows wait, up to {MOST_WAITING:,} of them")
            return False
        if room:
            self._recovered()
        else:
            self._failed(f"{self._used_bytes:,} bytes are used of max_bytes {self.max_bytes:,}; rows are dropped")
        if room:
            with suppress(sqlite3.Error, OSError):  # rows are written; the next round tells of it
                self._used_bytes = self._file.used_bytes()  # now: `full` may not lag behind rows that wait no more
        if bad:
            logger.error("decision log %s: %d rows hold what cannot be written; they are dropped", self.path, bad)
        with self._lock:
            for row in rows:
                self._rows.popleft()
                self._chars -= _chars(row)
            self._dropped += bad if room else len(rows)
        return True

    def _delete_some(self) -> bool:
        """Delete the oldest decisions, a bounded number, where age or size demands it; whether more may be due."""
        before_s = -math.inf if self.max_age_s is None else self._clock() - self.max_age_s
        most_bytes = self._room - WAL_BYTES if self.when_full == "delete_oldest" else math.inf
        deleted = self._file.delete_oldest(MOST_DELETED, before_s, most_bytes)
        if deleted and not self._deleted:
            logger.info("decision log %s: the oldest decisions are deleted from now on, for age or size", self.path)
        self._deleted += deleted
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
        """Say it once, until it is over."""
        if self._trouble is None:
            logger.error("decision log %s: %s", self.path, why)
        self._trouble = why

    def _recovered(self) -> None:
        if self._trouble is not None:
            logger.warning("decision log %s: writes again; %d rows were dropped so far", self.path, self._dropped)
        self._trouble = None


def _chars(row: Row) -> int:
    return len(row.prompt or "") if isinstance(row, DecisionRow) else 0
