"""Rows and SQL tables of the decision log.

A decision has any number of outcomes, one for each attempt, and at most one feedback. This module knows neither files
nor threads.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

FORMAT_VERSION = 1
LONGEST_ERROR = 2000  # characters; upstreams may send whole pages

SCHEMA = """
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
"""


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One routed request."""

    decision_id: str
    time_s: float  # since the epoch
    route: Mapping[str, Any]  # the whole decision as JSON values
    model: str
    quality: float  # probability in [0, 1] of a good answer
    cost_usd: float  # expected
    prompt: str | None = None
    session: str | None = None
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """The outcome of one attempt at an upstream."""

    decision_id: str
    attempt: int  # from 1
    upstream: str
    status: int | None = None  # HTTP status; None without a response
    error: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    possibly_billed: bool = False


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """A score of an answer, given afterwards; a later one replaces it."""

    decision_id: str
    time_s: float
    score: float
    comment: str | None


Row = DecisionRow | OutcomeRow | FeedbackRow
DECISION = ("id", "time_s", "model", "quality", "cost_usd", "session", "key_id", "prompt", "prompt_hmac", "route")
TABLES: Mapping[type[Row], tuple[str, tuple[str, ...]]] = {  # name and columns, the decision's id first
    DecisionRow: ("decisions", DECISION),
    OutcomeRow: ("outcomes", tuple(each.name for each in fields(OutcomeRow))),
    FeedbackRow: ("feedback", tuple(each.name for each in fields(FeedbackRow))),
}


def insert(kind: type[Row]) -> str:
    """The statement that writes a row of this kind.

    REPLACE, since a transaction that may have been committed is repeated. Rows of a decision that was dropped or
    deleted are left out: they would stay for ever.
    """
    table, columns = TABLES[kind]
    only = "" if kind is DecisionRow else "WHERE EXISTS (SELECT 1 FROM decisions WHERE id = :decision_id)"
    return f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) SELECT :{', :'.join(columns)} {only}"


def columns_of(row: Row, secret: bytes, store_prompts: bool) -> dict[str, Any]:
    """The values of a row by column, in the order of its table; a prompt is stored as text or as HMAC.

    Raises ValueError or TypeError for a route that is not JSON.
    """
    found = {each.name: getattr(row, each.name) for each in fields(row)}
    if isinstance(row, DecisionRow):
        digest = None if store_prompts or row.prompt is None else prompt_hmac(row.prompt, secret)
        route = json.dumps(row.route, allow_nan=False, separators=(",", ":"))
        found |= {"id": row.decision_id, "prompt_hmac": digest, "route": route}
        found["prompt"] = _writable(row.prompt) if store_prompts else None
    elif isinstance(row, OutcomeRow):
        found["error"] = row.error and (_writable(row.error) or "")[:LONGEST_ERROR]
    else:
        found["comment"] = _writable(row.comment)
    return {name: found[name] for name in TABLES[type(row)][1]}


def prompt_hmac(prompt: str, secret: bytes) -> str:
    """HMAC-SHA256 of the prompt, in hexadecimal: equal prompts can be counted, not read or guessed without the key.

    >>> prompt_hmac("2+2?", b"key")[:16]
    '715e13d4982220fd'
    """
    return hmac.digest(secret, prompt.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


def _writable(text: str | None) -> str | None:
    """`text` without halves of surrogate pairs, which JSON allows and SQLite refuses."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")
