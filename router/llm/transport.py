"""HTTP transport for LLM calls: one request, the meaning of its response, its cost in USD.

Never raises for a fault of the network or the endpoint. It does not retry, wait or remember.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx

from router.llm.endpoint import Endpoint
from router.llm.question import Answer, Question, read_completion

RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}  # statuses after which a retry may succeed
MAYBE_PAID = {408, 502, 504, 520, 522, 524}  # of these, a gateway's: the model behind it may have answered
FATAL = {401, 402, 403, 404, 405}  # wrong endpoint, key or model: every question would be refused
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
UNSUPPORTED = re.compile(r"unsupported|not support|unrecogni[sz]ed|unknown|not permitted|not allowed|unexpected|extra ")
# Parameters that some models refuse, and what to send in their place; the question is sent again once without them.
REPLACED = {"response_format": None, "temperature": None, "max_tokens": "max_completion_tokens"}

# `retry`: send it again. `adapt`: send it again without `unsupported`. `refused`: this question gets no answer.
# `fatal`: no question does.
Outcome = Literal["answered", "retry", "adapt", "refused", "fatal"]


@dataclass(frozen=True)
class Reply:
    """Outcome of one request."""

    outcome: Outcome
    usd: float  # what it cost; where that is unknown, the most it can have cost
    problem: str = ""
    answer: Answer | None = None
    wait_s: float = 0.0  # before a retry
    overloaded: bool = False  # too many requests: all requests to the endpoint should wait
    unsupported: tuple[str, ...] = ()  # parameters of the body


async def send(
    http: httpx.AsyncClient,
    endpoint: Endpoint,
    key: str | None,
    body: dict[str, Any],
    question: Question,
    most_usd: float,
    attempts: int,
) -> Reply:
    """Post `body`, wait for `endpoint.timeout_s` at most. The question's hash is sent as its idempotency key."""
    headers = {"Idempotency-Key": question.key(endpoint)} | ({"Authorization": f"Bearer {key}"} if key else {})
    start = time.perf_counter()
    try:
        async with asyncio.timeout(endpoint.timeout_s):
            response = await http.post(endpoint.url, json=body, headers=headers)
    except (TimeoutError, httpx.TransportError) as error:
        never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        problem = f"{type(error).__name__}: {error or f'no answer within {endpoint.timeout_s:g} s'}"
        return Reply("retry", 0.0 if never_sent else most_usd, problem, wait_s=wait_s({}, attempts, datetime.now(UTC)))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Reply("fatal", 0.0, f"{type(error).__name__}: {error}")
    latency_s = time.perf_counter() - start
    if response.status_code == 200:
        try:
            answer = read_completion(response.json(), question, endpoint, latency_s)
        except (ValueError, RecursionError) as error:
            return Reply("retry", most_usd, f"an answer that cannot be read: {str(error)[:200]}", wait_s=0.1)
        return Reply("answered", answer.usd if answer.counted else most_usd, answer=answer)
    return _read_error(response, key, body, most_usd, attempts)


def _read_error(
    response: httpx.Response, key: str | None, body: dict[str, Any], most_usd: float, attempts: int
) -> Reply:
    status, text = response.status_code, response.text
    problem = f"HTTP {status}: {error_message(text, key)}"
    if status in FATAL or (status == 429 and "insufficient_quota" in text):
        return Reply("fatal", 0.0, problem)
    if status in RETRIED:
        wait = wait_s(response.headers, attempts, datetime.now(UTC))
        usd = most_usd if status in MAYBE_PAID else 0.0
        return Reply("retry", usd, problem, wait_s=wait, overloaded=status == 429)
    names = unsupported_parameters(body, status, text)
    return Reply("adapt" if names else "refused", 0.0, problem, unsupported=names)


def wait_s(headers: Mapping[str, str], attempts: int, now: datetime) -> float:
    """Seconds until the next attempt: from Retry-After (seconds or a date) if there is one, otherwise random backoff.

    The backoff is uniform up to a bound that doubles with each of `attempts`, so that many clients do not come back at
    once.

    >>> wait_s({"retry-after": "2"}, 1, datetime.now(UTC))
    2.0
    """
    retry_after_s = _retry_after_s(headers, now)
    if retry_after_s is not None:
        return retry_after_s
    return random.uniform(0.1, 1.0) * min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempts, 20))


def _retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            found = float(headers[name]) * unit_s
        except (KeyError, ValueError):
            continue
        if 0 <= found < 1e6:
            return found
    try:
        date = parsedate_to_datetime(headers["retry-after"])
        return max(0.0, (date - now).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def unsupported_parameters(body: Mapping[str, Any], status: int, text: str) -> tuple[str, ...]:
    """Names of parameters of `body` that a response of status 400 or 422 refuses and that can be left out or renamed.

    A message about a value does not count: one about a context that is too long names max_tokens too.

    >>> unsupported_parameters({"max_tokens": 9}, 400, "Unsupported parameter: 'max_tokens'")
    ('max_tokens',)
    >>> unsupported_parameters({"max_tokens": 9}, 400, "maximum context length is 8192, you asked for 9 in max_tokens")
    ()
    """
    if status not in (400, 422):
        return ()
    message = text.lower()
    if "response_format" in body and re.search("response_format|schema|structured|guided", message):
        return ("response_format",)
    if not UNSUPPORTED.search(message):
        return ()
    return tuple(name for name in REPLACED if name in body and re.search(rf"\b{name}\b", message))


def without_parameters(body: Mapping[str, Any], unsupported: set[str]) -> dict[str, Any]:
    """`body` without the unsupported parameters, or with the name that replaces one.

    >>> without_parameters({"temperature": 0, "max_tokens": 9}, {"temperature", "max_tokens"})
    {'max_completion_tokens': 9}
    """
    sent: dict[str, Any] = {}
    for name, value in body.items():
        if name not in unsupported:
            sent[name] = value
        elif new := REPLACED[name]:
            sent[new] = value
    return sent


def error_message(text: str, key: str | None, longest: int = 300) -> str:
    """Error message of a response on one line, shortened; the key is masked if the endpoint repeats it."""
    message = text
    try:
        found = json.loads(text)
        error = found.get("error", found) if isinstance(found, dict) else found
        message = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, RecursionError):
        pass
    if key:
        message = message.replace(key, "***")
    message = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    return message[:longest] + ("..." if len(message) > longest else "") or "no explanation"
