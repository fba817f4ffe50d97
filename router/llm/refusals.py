"""What a refused request means: ask again and when, ask otherwise, or stop everything. Pure.

Knows HTTP statuses and the wording of OpenAI-compatible endpoints; sends nothing.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import random
import re
from collections.abc import Mapping
from typing import Any

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}  # may be answered later
MAYBE_PAID = {408, 502, 504, 520, 522, 524}  # of these, a gateway's: the model behind it may have answered
HOPELESS = {401, 402, 403, 404, 405}  # of the endpoint, key or model: no question will be answered
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
UNSUPPORTED = re.compile(r"unsupported|not support|unrecogni[sz]ed|unknown|not permitted|not allowed|unexpected|extra ")
# Parameters that some models refuse, and what to send in their place; asked again once without them.
REPLACED = {"response_format": None, "temperature": None, "max_tokens": "max_completion_tokens"}


def is_hopeless(status: int, text: str) -> bool:
    """Whether every other question would be refused too: a wrong key, an unknown model, an account without money."""
    return status in HOPELESS or (status == 429 and "insufficient_quota" in text)


def wait_s(headers: Mapping[str, str], tries: int, now: datetime.datetime) -> float:
    """Seconds until the next try: what the endpoint says (Retry-After in seconds or as a date), else drawn.

    Drawn uniformly up to a bound that doubles with each of `tries`, so that many clients do not come back at once.

    >>> wait_s({"retry-after": "2"}, 1, datetime.datetime.now(datetime.UTC))
    2.0
    """
    told = _told_s(headers, now)
    if told is not None:
        return told
    return random.uniform(0.1, 1.0) * min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(tries, 20))


def _told_s(headers: Mapping[str, str], now: datetime.datetime) -> float | None:
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            found = float(headers[name]) * unit_s
        except (KeyError, ValueError):
            continue
        if 0 <= found < 1e6:
            return found
    try:
        date = email.utils.parsedate_to_datetime(headers["retry-after"])
        return max(0.0, (date - now).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def without_refused(body: Mapping[str, Any], status: int, text: str) -> tuple[str, ...]:
    """Names of parameters of `body` that a 400 or 422 complains of and that can be left out or renamed.

    A complaint of a value (a context that is too long names max_tokens too) is none of a parameter.

    >>> without_refused({"max_tokens": 9}, 400, "Unsupported parameter: 'max_tokens', use 'max_completion_tokens'")
    ('max_tokens',)
    >>> without_refused({"max_tokens": 9}, 400, "maximum context length is 8192, you asked for 9 in max_tokens")
    ()
    """
    if status not in (400, 422):
        return ()
    said = text.lower()
    if "response_format" in body and re.search("response_format|schema|structured|guided", said):
        return ("response_format",)
    if not UNSUPPORTED.search(said):
        return ()
    return tuple(name for name in REPLACED if name in body and re.search(rf"\b{name}\b", said))


def adapted(body: Mapping[str, Any], refused: set[str]) -> dict[str, Any]:
    """`body` without the parameters that this endpoint refused, renamed where another name does.

    >>> adapted({"temperature": 0, "max_tokens": 9}, {"temperature", "max_tokens"})
    {'max_completion_tokens': 9}
    """
    sent: dict[str, Any] = {}
    for name, value in body.items():
        if name not in refused:
            sent[name] = value
        elif new := REPLACED[name]:
            sent[new] = value
    return sent


def complaint(text: str, key: str | None, longest: int = 300) -> str:
    """What an endpoint said, on one line, shortened, without the key should it repeat it."""
    said = text
    try:
        found = json.loads(text)
        error = found.get("error", found) if isinstance(found, dict) else found
        said = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, RecursionError):
        pass
    if key:
        said = said.replace(key, "***")
    said = " ".join("".join(c if c.isprintable() else " " for c in said).split())
    return said[:longest] + ("..." if len(said) > longest else "") or "no explanation"
