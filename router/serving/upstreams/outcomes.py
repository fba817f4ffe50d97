"""Outcomes of an attempt at an upstream, with their effect on the breaker, on a fallback and on the bill: `EFFECTS`."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

ANSWERED, REFUSED, LEFT = "answered", "refused", "left"
# By kind. breaker: it counts against the breaker; passed_on: also if the client, who may have caused the others, named
# the model; fallback: another model may answer; billed: it may have been billed without a usable answer.
EFFECTS = {
    ANSWERED: "",
    REFUSED: "",  # other 4xx: the request is at fault
    "context_length": "fallback",
    "content_filter": "fallback",
    "rate_limited": "fallback breaker",
    "not_found": "fallback",  # 404, except for the model
    "misconfigured": "fallback breaker",  # 401, 403, 404 for the model
    "unreachable": "fallback breaker passed_on",  # nothing was sent
    "overloaded": "fallback breaker passed_on",  # 503
    "server_error": "fallback breaker passed_on billed",  # other 5xx
    "timeout": "fallback breaker passed_on billed",
    "broken": "fallback breaker billed",  # reset, cut off, no JSON, redirect
    LEFT: "billed",  # the client went away
}
TOO_LONG = {"context_length_exceeded", "string_above_max_length"}
FILTERED = {"content_filter", "content_policy_violation"}
UNKNOWN_MODEL = {"model_not_found", "model_not_available", "DeploymentNotFound"}
MAX_RETRY_AFTER_S = 3600.0
_CONTEXT = re.compile(
    r"maximum context length|context[ _]length|context[ _]window|prompt is too long|too many (input )?tokens", re.I
)
_FILTER = re.compile(r"content[ _-](management|filter|policy)|responsible ai policy|safety system", re.I)
# Matched at the beginning of a message, where no words of a client can stand.
_MODEL = re.compile(
    r"(litellm\.\w+: (\w+ - )?)?(the |this )?(requested |specified |publisher )?(api )?(models?|deployment)\b"
    r"(: \S+$|.*(not found|not exist|not available|unknown))",
    re.I,
)
_GENERAL = re.compile(r"\d*|not_?found(_?error)?", re.I)  # codes that say no more than the status


@dataclass(frozen=True)
class Outcome:
    """The outcome of one attempt."""

    kind: str
    status: int | None = None  # of the upstream; None without a response
    detail: str = ""  # for the log; never sent to clients
    retry_after_s: float | None = None

    @property
    def against_breaker(self) -> bool:
        """Whether the upstream is at fault."""
        return "breaker" in EFFECTS[self.kind]

    @property
    def against_breaker_passed_on(self) -> bool:
        """Whether the upstream is at fault, and the client that named the model cannot have caused it."""
        return "passed_on" in EFFECTS[self.kind]

    @property
    def possibly_billed(self) -> bool:
        """Whether the upstream may have run and billed the request without a usable response."""
        return "billed" in EFFECTS[self.kind]

    def falls_back(self, retry_after_send: bool) -> bool:
        """Whether another model may answer; without `retry_after_send` not if the request may have run already."""
        return "fallback" in EFFECTS[self.kind] and (retry_after_send or not self.possibly_billed)


def of_status(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """The outcome of an HTTP response, by its status and an error's body; header names are in lower case."""
    if 200 <= status < 300:
        return Outcome(ANSWERED, status)
    code, message = _error(body)
    detail = f"{code} {message}".strip()[:500]
    if status in (429, 503):
        wait = _retry_after(headers.get("retry-after"))
        return Outcome("rate_limited" if status == 429 else "overloaded", status, detail, wait)
    if status in (400, 413, 422) and (code in TOO_LONG or _CONTEXT.search(message)):
        return Outcome("context_length", status, detail)
    if status in (400, 403, 422) and (code in FILTERED or _FILTER.search(message)):
        return Outcome("content_filter", status, code[:100])  # the message may quote the prompt, so it is not logged
    if status == 404 and not model_unknown(code, message):
        return Outcome("not_found", status, code[:100])  # likewise
    if status in (401, 403, 404):
        return Outcome("misconfigured", status, detail)
    if status in (408, 504):
        return Outcome("timeout", status, detail)
    if status >= 500:
        return Outcome("server_error", status, detail)
    if status >= 400:
        return Outcome(REFUSED, status, code[:100])  # likewise; the client gets the message
    return Outcome("broken", status, f"redirects are not followed, status {status}")


def check_answer(content_type: str, body: bytes | None, streamed: bool) -> str:
    """Why a response of status 2xx is invalid, empty if it is valid; `body` None: a stream that has only begun."""
    kind = content_type.partition(";")[0].strip().lower()
    allowed = ("text/event-stream", "application/json") if streamed else ("application/json",)
    if kind not in allowed:
        return f"content type {kind[:80] or 'missing'}, expected {allowed[0]}"
    if body is not None and kind == "application/json":
        try:
            if not isinstance(json.loads(body), dict):
                return "JSON that is no object"
        except (ValueError, RecursionError) as error:
            return f"not JSON: {str(error)[:100]}"
    return ""


def model_unknown(code: str, message: str) -> bool:
    """Whether the error of a 404 is about the model; the code decides if it says more than the status.

    >>> model_unknown("model_not_found", ""), model_unknown("404", "The model `m` does not exist.")
    (True, True)
    """
    return _MODEL.match(message) is not None if _GENERAL.fullmatch(code) else code in UNKNOWN_MODEL


def _error(body: bytes) -> tuple[str, str]:
    """Code and message of an error in OpenAI's shape; empty if there are none."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    inner: Any = raw.get("error", raw) if isinstance(raw, dict) else raw
    if isinstance(inner, str):
        return "", inner
    if not isinstance(inner, dict):
        return "", ""
    return str(inner.get("code") or ""), str(inner.get("message") or "")


def _retry_after(value: str | None) -> float | None:
    """Seconds in a Retry-After header, given as a number or a date; None if it cannot be read."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if seconds == seconds else None
