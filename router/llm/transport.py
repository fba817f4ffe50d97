"""One request: sends a body to an endpoint and says what came of it, and what it has to be counted at.

Never raises for what a network or an endpoint does. Does not retry, wait or remember.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from router.llm.endpoint import Endpoint
from router.llm.question import Answer, Question, read_completion
from router.llm.refusals import AGAIN, MAYBE_PAID, complaint, is_hopeless, wait_s, without_refused

# `later`: ask again. `otherwise`: ask again without `refused`. `never`: this question. `hopeless`: all questions.
Outcome = Literal["answered", "later", "otherwise", "never", "hopeless"]


@dataclass(frozen=True)
class Reply:
    """What came of a request."""

    outcome: Outcome
    usd: float  # what it cost; where that is unknown the most it can have cost
    problem: str = ""
    answer: Answer | None = None
    wait_s: float = 0.0
    overloaded: bool = False  # asked too often: others should wait too
    refused: tuple[str, ...] = ()  # parameters of the body


async def send(
    http: httpx.AsyncClient,
    endpoint: Endpoint,
    key: str | None,
    body: dict[str, Any],
    question: Question,
    most_usd: float,
    tries: int,
) -> Reply:
    """Post `body`, wait for `endpoint.timeout_s` at most. The question's hash goes along as its idempotency key."""
    headers = {"Idempotency-Key": question.key(endpoint)} | ({"Authorization": f"Bearer {key}"} if key else {})
    start = time.perf_counter()
    try:
        async with asyncio.timeout(endpoint.timeout_s):
            response = await http.post(endpoint.url, json=body, headers=headers)
    except (TimeoutError, httpx.TransportError) as error:
        never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        what = f"{type(error).__name__}: {error or f'no answer within {endpoint.timeout_s:g} s'}"
        return Reply("later", 0.0 if never_sent else most_usd, what, wait_s=wait_s({}, tries, _now()))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Reply("hopeless", 0.0, f"{type(error).__name__}: {error}")
    latency_s = time.perf_counter() - start
    if response.status_code == 200:
        return _answered(response, endpoint, question, most_usd, latency_s)
    return _refused(response, key, body, most_usd, tries)


def _answered(
    response: httpx.Response, endpoint: Endpoint, question: Question, most_usd: float, latency_s: float
) -> Reply:
    try:
        answer = read_completion(response.json(), question, endpoint, latency_s)
    except (ValueError, RecursionError) as error:
        return Reply("later", most_usd, f"an answer that cannot be read: {str(error)[:200]}", wait_s=0.1)
    return Reply("answered", answer.usd if answer.counted else most_usd, answer=answer)


def _refused(response: httpx.Response, key: str | None, body: dict[str, Any], most_usd: float, tries: int) -> Reply:
    status, text = response.status_code, response.text
    said = f"HTTP {status}: {complaint(text, key)}"
    if is_hopeless(status, text):
        return Reply("hopeless", 0.0, said)
    if status in AGAIN:
        wait = wait_s(response.headers, tries, _now())
        return Reply("later", most_usd if status in MAYBE_PAID else 0.0, said, wait_s=wait, overloaded=status == 429)
    refused = without_refused(body, status, text)
    return Reply("otherwise", 0.0, said, refused=refused) if refused else Reply("never", 0.0, said)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
