"""SQLite cache of answers and ledger of costs: answers by the hash of their question, and every attempt with its cost.

An attempt is recorded before it is sent; its answer and cost are recorded in one transaction as soon as they arrive. So
a killed run loses only answers that were under way, and these count at the most they can cost. A power cut may take the
last SYNC_S seconds too. Neither questions nor keys are stored.
"""

import secrets
import sqlite3
import time
from pathlib import Path
from typing import Self

from router.errors import UsageError
from router.llm.question import Answer

VERSION = "1"
SYNC_S = 1.0
TABLES = """
    CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS answers (
        key TEXT PRIMARY KEY, text TEXT NOT NULL, input_tokens REAL NOT NULL, output_tokens REAL NOT NULL,
        counted INTEGER NOT NULL, usd REAL NOT NULL, latency_s REAL NOT NULL, finish TEXT NOT NULL
    ) WITHOUT ROWID;
    -- usd is NULL while the attempt is under way
    CREATE TABLE IF NOT EXISTS tries (id INTEGER PRIMARY KEY, key TEXT NOT NULL, most_usd REAL NOT NULL, usd REAL);
"""


class Store:
    """The cache and ledger as a context manager; one process at a time."""

    def __init__(self, path: Path) -> None:
        """UsageError where another run uses the file, or where it is not a cache of ours."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.database = sqlite3.connect(path, isolation_level=None, timeout=0.2)
            # EXCLUSIVE: a lock that the system takes back from a killed process. NORMAL: safe from a kill.
            for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self.database.execute(f"PRAGMA {setting}")
            self.database.executescript(TABLES)
            self.salt = bytes.fromhex(self._fact("salt", secrets.token_hex(16)))
            version = self._fact("version", VERSION)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise UsageError(_why_not(path, error)) from error
        if version != VERSION:
            raise UsageError(f"{path} is a cache of version {version}, this program reads {VERSION}: name another file")
        changed = self.database.execute("UPDATE tries SET usd = most_usd WHERE usd IS NULL")
        self.lost = changed.rowcount  # attempts under way when an earlier run was killed
        self.spent_usd = float(self.database.execute("SELECT TOTAL(usd) FROM tries").fetchone()[0])
        self.synced_at = -SYNC_S

    def _fact(self, name: str, first: str) -> str:
        self.database.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, first))
        return str(self.database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])

    def answer(self, key: str) -> Answer | None:
        """The answer to a question that was asked before, None for a new one."""
        row = self.database.execute("SELECT * FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        _, text, tokens_in, tokens_out, counted, usd, latency_s, finish = row
        return Answer(text, tokens_in, tokens_out, bool(counted), usd, latency_s, finish)

    def begin(self, key: str, most_usd: float) -> int:
        """Record an attempt that is about to be sent; returns its number."""
        done = self.database.execute("INSERT INTO tries (key, most_usd) VALUES (?, ?)", (key, most_usd))
        return int(done.lastrowid or 0)

    def settle(self, number: int, key: str, usd: float, answer: Answer | None) -> None:
        """Record what an attempt cost, and its answer if it brought one."""
        sync = time.monotonic() > self.synced_at + SYNC_S
        if sync:  # waiting for the disk each time would take longer than many answers do
            self.database.execute("PRAGMA synchronous=FULL")
        self.database.execute("BEGIN")
        try:
            self.database.execute("UPDATE tries SET usd = ? WHERE id = ?", (usd, number))
            if answer is not None:
                self.database.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (key, *vars(answer).values())
                )
            self.database.execute("COMMIT")
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        finally:
            if sync:
                self.database.execute("PRAGMA synchronous=NORMAL")
                self.synced_at = time.monotonic()
        self.spent_usd += usd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.database.close()


def _why_not(path: Path, error: Exception) -> str:
    if "locked" in str(error):
        return f"{path} is in use by another run: wait for it, or give another --cache"
    return f"cannot use {path} as a cache of answers ({error}): give another --cache"
