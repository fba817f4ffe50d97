"""Responses to the client: an upstream's response passed through, with the decision in its headers, logged and counted.

This module neither decides nor forwards.
"""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.types import Message, Receive, Scope, Send

from router.policy.decision import Alternative
from router.serving.http.access import ClientLeftError
from router.serving.protocol.stream import EventBuffer, Tail, error_event
from router.serving.service import GatewayState
from router.serving.telemetry.log_rows import OutcomeRow
from router.serving.upstreams.client import Stream, StreamBrokenError, Target, UpstreamResponse
from router.serving.upstreams.failover import Attempt
from router.serving.upstreams.outcomes import ANSWERED, LEFT, REFUSED, Outcome

logger = logging.getLogger(__name__)
T = TypeVar("T")
UNREAD_S = 60.0  # a client that reads nothing for so long is cut off: it holds a connection of the upstream


@dataclass
class Record:
    """A request in progress: its decision, upstream and tokens, for headers, log and metrics."""

    state: GatewayState
    decision_id: str = ""
    chosen: Alternative | None = None
    target: Target | None = None
    attempt: int = 1
    session: str | None = None
    latency_s: float = 0.0
    tail: Tail = field(default_factory=Tail)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that show the decision to the client."""
        found = {"x-router-decision-id": self.decision_id}
        if self.chosen is not None:
            found |= {
                "x-router-model": self.chosen.model,
                "x-router-quality": f"{self.chosen.quality:.4f}",
                "x-router-expected-cost-usd": f"{self.chosen.cost_usd:.8f}",
                "x-router-attempts": str(self.attempt),
            }
        elif self.target is not None:
            found["x-router-model"] = self.target.id
        return [(name.encode(), value.encode("ascii", "backslashreplace")) for name, value in found.items() if value]

    def note(self, attempt: Attempt) -> None:
        """Log an attempt that failed; one whose response goes to the client is logged at its end, with its cost."""
        if attempt.outcome.kind not in (ANSWERED, REFUSED):
            self._log(attempt)

    def ended(self, outcome: Outcome) -> None:
        """Count the tokens of a response that ended or broke as load; log them and their cost."""
        if self.target is None:
            return
        tokens = self.tail.usage()
        self.target.load.spent(sum(filter(None, tokens)))
        facts = self.target.candidate.facts
        cost = None
        if tokens[0] is not None and tokens[1] is not None and facts.priced:
            cost = (
                tokens[0] * (facts.input_usd_per_mtok or 0.0) + tokens[1] * (facts.output_usd_per_mtok or 0.0)
            ) / 1e6
            self.state.metrics.billed(self.target.id, cost)
        if self.session is not None and outcome.kind == ANSWERED:
            self.state.sessions.answered(self.session, self.target.id, self.tail.response_id())
        self._log(Attempt(self.attempt, self.target.id, outcome, self.latency_s), tokens, cost)

    def _log(
        self, attempt: Attempt, tokens: tuple[int | None, int | None] = (None, None), cost_usd: float | None = None
    ) -> None:
        model, outcome = attempt.model, attempt.outcome
        error = None if outcome.kind == ANSWERED else f"{outcome.kind} {outcome.detail}".strip()
        if error:
            fields = {"decision": self.decision_id, "model": model, "error": error}
            logger.info("attempt failed", extra={"fields": fields})
        if self.state.log is not None and self.decision_id:
            row = (self.decision_id, attempt.number, model, outcome.status, error, *tokens, cost_usd)
            self.state.log.put(OutcomeRow(*row, attempt.latency_s, outcome.possibly_billed))


class PassThroughResponse:
    """An ASGI response that passes an upstream's response through, with the decision in its headers."""

    def __init__(self, response: UpstreamResponse, record: Record, path: str, *, events: bool) -> None:
        self.response, self.record, self.path, self.events = response, record, path, events
        self.status_code = response.outcome.status or 502

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response, record = self.response, self.record
        headers = [*response.headers, *record.headers()]
        if response.stream is None:
            headers.append((b"content-length", str(len(response.body)).encode()))
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
                await send({"type": "http.response.body", "body": response.body})
            finally:
                record.tail.add(response.body)
                record.ended(response.outcome)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        try:
            await unless_left(receive, self._relay(response.stream, send))
        finally:
            await response.stream.aclose()  # needed if the relay was cancelled before it began

    async def _relay(self, stream: Stream, send: Send) -> None:
        """Pass the stream on. One that breaks ends with an error event; a stream without events is cut off."""
        events, outcome = EventBuffer(), Outcome(LEFT, self.status_code)
        try:
            async for chunk in stream:
                self.record.tail.add(chunk)
                if part := events.push(chunk) if self.events else chunk:
                    async with asyncio.timeout(UNREAD_S):
                        await send(_part(part))
            if rest := events.rest():
                await send(_part(rest))
            await send({"type": "http.response.body", "body": b""})
            outcome = self.response.outcome
        except TimeoutError:
            outcome = Outcome(LEFT, self.status_code, "the client reads no more")
            raise ClientLeftError from None
        except StreamBrokenError as error:
            outcome = Outcome("broken", self.status_code, f"in the stream: {error}")
            if not self.events:
                raise  # cuts the connection, so that the client sees that something is missing
            message = "the upstream's answer broke off; what came until here is incomplete"
            await send(_part(error_event(self.path, "upstream_failed", message)))
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.record.ended(outcome)
            await stream.aclose()


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def unless_left(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. When the client disconnects, `work` is cancelled and ClientLeftError raised."""
    task, gone = asyncio.create_task(work), asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeftError
    finally:
        gone.cancel()
        task.cancel()
        if not task.done():
            await asyncio.gather(task, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
