"""Rows and SQL tables of the decision log.

A decision has any number of outcomes, one for each attempt, and at most one feedback. This module knows neither files
nor threads.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

FORMAT_VERSION = 1
LONGEST_ERROR = 2000  # characters; upstreams may send whole pages

TABLES = """
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

    id: str
    time_s: float  # since the epoch
    route: Mapping[str, Any]  # the whole decision as JSON values
    model: str
    quality: float  # probability in [0, 1] of a good answer
    cost_usd: float  # expected
    prompt: str | None = None
    session: str | None = None
    key_id: str | None = None

    @property
    def decision_id(self) -> str:
        """The id, under the name that the other rows use."""
        return self.id


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
OUTCOME = tuple(each.name for each in fields(OutcomeRow))
FEEDBACK = tuple(each.name for each in fields(FeedbackRow))


def _insert(table: str, columns: Sequence[str], only: str = "") -> str:
    # REPLACE: a transaction is repeated if it may have been committed or not
    values = ", ".join(f"?{number}" for number in range(1, len(columns) + 1))
    return f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) SELECT {values} {only}"


# Rows of a decision that was dropped, or deleted meanwhile, would stay for ever.
_OF_A_DECISION = "WHERE EXISTS (SELECT 1 FROM decisions WHERE id = ?1)"


INSERT = {
    DecisionRow: _insert("decisions", DECISION),
    OutcomeRow: _insert("outcomes", OUTCOME, _OF_A_DECISION),
    FeedbackRow: _insert("feedback", FEEDBACK, _OF_A_DECISION),
}


def columns_of(row: Row, secret: bytes, store_prompts: bool) -> tuple[Any, ...]:
    """The values of a row in the order of its table's columns; a prompt is stored as text or as HMAC.

    Raises ValueError or TypeError for a route that is not JSON.
    """
    if isinstance(row, DecisionRow):
        text = _writable(row.prompt) if store_prompts else None
        digest = None if store_prompts or row.prompt is None else prompt_hmac(row.prompt, secret)
        route = json.dumps(row.route, allow_nan=False, separators=(",", ":"))
        known = (row.id, row.time_s, row.model, row.quality, row.cost_usd, row.session, row.key_id)
        return (*known, text, digest, route)
    if isinstance(row, OutcomeRow):
        error = None if row.error is None else (_writable(row.error) or "")[:LONGEST_ERROR]
        return tuple(error if name == "error" else getattr(row, name) for name in OUTCOME)
    return (row.decision_id, row.time_s, row.score, _writable(row.comment))


def prompt_hmac(prompt: str, secret: bytes) -> str:
    """HMAC-SHA256 of the prompt, in hexadecimal: equal prompts can be counted, not read or guessed without the key.

    >>> prompt_hmac("2+2?", b"key")[:16]
    '715e13d4982220fd'
    """
    return hmac.digest(secret, prompt.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


def _writable(text: str | None) -> str | None:
    """`text` without halves of surrogate pairs, which JSON allows and SQLite refuses."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")


def whole_decision(
    decision: Sequence[Any], outcomes: Sequence[Sequence[Any]], feedback: Sequence[Any] | None
) -> dict[str, Any]:
    """A decision with its outcomes, by attempt, and its feedback, from the columns of their tables."""
    whole = dict(zip(DECISION, decision, strict=True))
    whole["route"] = json.loads(whole["route"])
    named = [dict(zip(OUTCOME, each, strict=True)) for each in outcomes]
    named.sort(key=lambda each: each["attempt"])
    whole["outcomes"] = [each | {"possibly_billed": bool(each["possibly_billed"])} for each in named]
    whole["feedback"] = None if feedback is None else dict(zip(FEEDBACK, feedback, strict=True))
    return whole
