"""SQLite file of the decision log: created or checked when opened, written in transactions, read by decision.

One thread writes, any thread may read. A kill of the process loses nothing that is committed; a power cut may lose the
last commits and breaks nothing. This module knows neither when to write nor what to do without room.
"""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from router.errors import UsageError
from router.serving.telemetry.log_rows import FORMAT_VERSION, SCHEMA, TABLES, Row, insert

APPLICATION_ID = 0x49445231  # marks an SQLite file as a decision log; the command `file` shows it
BUSY_S = 1.0  # wait for another process that writes
OPEN_S = 5.0  # wait for processes that open or close the file, for which SQLite does not always wait
# Errors of one row; all other errors of SQLite are about the file.
BAD_ROW = (TypeError, ValueError, OverflowError, RecursionError,
           sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)  # fmt: skip
INSERT = {kind: insert(kind) for kind in TABLES}
Columns = Callable[[Row], dict[str, Any]]


class LogFile:
    """An open log file."""

    def __init__(self, path: Path, columns: Columns) -> None:
        """Opens or creates the file; `columns` gives the values of a row by column.

        Raises UsageError if the file cannot be opened, is broken, is no decision log, or has another version.
        """
        self.path, self._columns = path, columns
        self._reading = threading.Lock()
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives its other files this mode as well
            self._inode = os.stat(path).st_ino
            self._open(time.monotonic() + OPEN_S)
        except (OSError, sqlite3.Error) as error:
            raise UsageError(
                f"the decision log {path} cannot be opened ({error}); name a file in a folder that can be written to, "
                "and where the file is broken move it away: a new one is made"
            ) from error

    def _open(self, until_s: float) -> None:
        """Connect and prepare; try again while another process locks the whole file as it starts or ends."""
        while True:
            self._db, self._reader = self._connect(), self._connect()
            self._reader.row_factory = sqlite3.Row
            try:
                self._prepare()
                return
            except BaseException as error:
                self.close()
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > until_s:
                    raise
                time.sleep(0.05)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)

    def _prepare(self) -> None:
        """Check the version, or create the tables of a new file. Two processes may do this at once."""
        if self._value("SELECT count(*) FROM sqlite_master"):  # before any change to a foreign file
            self._check_ours()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("BEGIN IMMEDIATE")
        if not self._value("SELECT count(*) FROM sqlite_master"):
            for statement in SCHEMA.split(";"):  # executescript would commit first
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        self._db.execute("COMMIT")
        self._check_ours()
        for table, names in TABLES.values():
            self._db.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY rowid DESC LIMIT 1").fetchall()

    def _check_ours(self) -> None:
        if self._value("PRAGMA application_id") != APPLICATION_ID:
            raise UsageError(f"{self.path} is an SQLite file but no decision log; name another file")
        version = self._value("PRAGMA user_version")
        if version != FORMAT_VERSION:
            raise UsageError(
                f"the decision log {self.path} is of version {version}, this program writes version {FORMAT_VERSION}: "
                "name another file, or use the program that made it"
            )

    def _value(self, statement: str) -> Any:
        return self._db.execute(statement).fetchone()[0]

    def used_bytes(self) -> int:
        """Used bytes on the disk: pages with content and the write-ahead log. Deleting rows makes them less.

        Raises OSError if another file has taken the place of the opened one, whose rows would be lost.
        """
        self._check_place()
        with suppress(FileNotFoundError):
            return self._data_bytes() + os.stat(f"{self.path}-wal").st_size
        return self._data_bytes()

    def _check_place(self) -> None:
        if os.stat(self.path).st_ino != self._inode:
            raise FileNotFoundError("another file lies in its place; put the first one back, or restart")

    def _data_bytes(self) -> int:
        pages: int = self._value("PRAGMA page_count") - self._value("PRAGMA freelist_count")
        return pages * int(self._value("PRAGMA page_size"))

    def empty_wal(self) -> None:
        """Merge the write-ahead log into the file and truncate it, unless a reader still needs it."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def delete_oldest(self, most: int, before_s: float, most_bytes: float) -> int:
        """Delete the oldest decisions, with their outcomes and feedback, in one transaction; the number deleted.

        It deletes at most `most`, and only while the oldest is from before `before_s` or all rows take `most_bytes` or
        more. New rows reuse the pages. Raises sqlite3.Error if nothing was deleted, OSError like `used_bytes`.
        """

        def is_due(time_s: float) -> bool:
            return time_s < before_s or self._data_bytes() >= most_bytes

        self._check_place()
        oldest_s = self._value("SELECT min(time_s) FROM decisions")
        if oldest_s is None or not is_due(oldest_s):  # without a transaction, for which others would wait
            return 0
        deleted = 0
        with self._transaction():
            oldest = self._db.execute("SELECT id, time_s FROM decisions ORDER BY time_s LIMIT ?", (most,)).fetchall()
            for name, time_s in oldest:
                if not is_due(time_s):
                    break
                for table, (key, *_) in TABLES.values():
                    self._db.execute(f"DELETE FROM {table} WHERE {key} = ?", (name,))
                deleted += 1
        return deleted

    def write(self, rows: Iterable[Row]) -> int:
        """Write all rows in one transaction; the number of faulty rows, which are left out.

        Raises sqlite3.Error if nothing was written.
        """
        bad = 0
        with self._transaction():
            for row in rows:
                try:
                    self._db.execute(INSERT[type(row)], self._columns(row))
                except BAD_ROW:
                    bad += 1
        return bad

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite may have rolled back already
                self._db.execute("ROLLBACK")
            raise

    def read(self, decision_id: str, waiting: Iterable[Row] = ()) -> dict[str, Any] | None:
        """The whole decision, or None; `waiting` are rows of it that may not be in the file yet, and override it.

        Raises sqlite3.Error if the file cannot be read.
        """
        found: dict[str, dict[int | None, dict[str, Any]]] = {}  # by table and attempt
        with self._reading:
            for table, names in TABLES.values():
                select = f"SELECT {', '.join(names)} FROM {table} WHERE {names[0]} = ?"
                rows = map(dict, self._reader.execute(select, (decision_id,)))
                found[table] = {row.get("attempt"): row for row in rows}
        for waits in waiting:
            with suppress(*BAD_ROW):
                columns = self._columns(waits)
                found[TABLES[type(waits)][0]][columns.get("attempt")] = columns
        if not found["decisions"]:
            return None
        decision = found["decisions"][None]
        outcomes = [row | {"possibly_billed": bool(row["possibly_billed"])} for row in found["outcomes"].values()]
        outcomes.sort(key=lambda row: row["attempt"])
        return decision | {
            "route": json.loads(decision["route"]), "outcomes": outcomes, "feedback": found["feedback"].get(None)
        }  # fmt: skip

    def close(self) -> None:
        """Close the file; the last process to do so merges the write-ahead log into it."""
        with self._reading:
            self._reader.close()
        self._db.close()
