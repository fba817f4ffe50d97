"""An answer on its way to the client: passed on as it comes, with the decision in its headers; then logged and counted.

Knows the decision and the upstream's answer, not how either was come by.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from starlette.types import Message, Receive, Scope, Send

from router.policy.decision import Alternative
from router.serving.http.access import ClientLeftError
from router.serving.protocol.stream import Events, Tail, error_event
from router.serving.service import Service
from router.serving.telemetry.log_rows import OutcomeRow
from router.serving.upstreams.client import Answer, Stream, StreamBrokenError, Target
from router.serving.upstreams.failover import Attempt
from router.serving.upstreams.outcomes import ANSWERED, LEFT, REFUSED, Outcome

logger = logging.getLogger(__name__)
UNREAD_S = 60.0  # that a client may let a part of a stream lie unread; it holds a connection of the upstream


@dataclass
class Record:
    """What is known of a request while it is answered, for headers, log and metrics."""

    service: Service
    decision_id: str = ""
    chosen: Alternative | None = None
    target: Target | None = None
    attempt: int = 1
    session: str | None = None
    latency_s: float = 0.0
    tail: Tail = field(default_factory=Tail)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What a client is told of the decision."""
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
        return [(name.encode(), _latin(value)) for name, value in found.items() if value]

    def note(self, attempt: Attempt) -> None:
        """Log an attempt whose answer goes to nobody; one that does is logged once it is known what it cost."""
        if attempt.outcome.kind not in (ANSWERED, REFUSED):
            self._log(attempt.number, attempt.model, attempt.outcome, attempt.latency_s)

    def ended(self, outcome: Outcome) -> None:
        """The answer was passed on, or broke on the way: count its tokens as load, log them and what they cost."""
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
            self.service.metrics.billed(self.target.id, cost)
        if self.session is not None and outcome.kind == ANSWERED:
            self.service.sessions.answered(self.session, self.target.id, self.tail.response_id())
        self._log(self.attempt, self.target.id, outcome, self.latency_s, tokens, cost)

    def _log(
        self,
        number: int,
        model: str,
        outcome: Outcome,
        latency_s: float,
        tokens: tuple[int | None, int | None] = (None, None),
        cost_usd: float | None = None,
    ) -> None:
        error = None if outcome.kind == ANSWERED else f"{outcome.kind} {outcome.detail}".strip()
        if error:
            logger.info(
                "attempt failed", extra={"fields": {"decision": self.decision_id, "model": model, "error": error}}
            )
        if self.service.log is None or not self.decision_id:
            return
        self.service.log.outcome(
            OutcomeRow(
                self.decision_id,
                number,
                model,
                outcome.status,
                error,
                *tokens,
                cost_usd,
                latency_s,
                outcome.possibly_billed,
            )
        )


class Relayed:
    """An ASGI response: an upstream's answer passed on as it comes, with the decision in its headers."""

    def __init__(self, answer: Answer, record: Record, path: str, *, events: bool) -> None:
        self.answer, self.record, self.path, self.events = answer, record, path, events
        self.status_code = answer.outcome.status or 502

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer, record = self.answer, self.record
        headers = [*answer.headers, *record.headers()]
        if answer.stream is None:
            headers.append((b"content-length", str(len(answer.body)).encode()))
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
                await send({"type": "http.response.body", "body": answer.body})
            finally:
                record.tail.add(answer.body)
                record.ended(answer.outcome)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        relay = asyncio.create_task(self._relay(answer.stream, send))
        gone = asyncio.create_task(disconnected(receive))
        try:
            await asyncio.wait({relay, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            relay.cancel()
            await asyncio.wait({relay})
            await answer.stream.aclose()  # where the relay was given up before it began
        if not relay.cancelled() and (error := relay.exception()):
            raise error

    async def _relay(self, stream: Stream, send: Send) -> None:
        """Pass the stream on to its end. One that breaks ends with an error event; without events it is cut off."""
        whole, outcome = Events(), Outcome(LEFT, self.status_code)
        try:
            async for chunk in stream:
                self.record.tail.add(chunk)
                if part := whole.whole(chunk) if self.events else chunk:
                    async with asyncio.timeout(UNREAD_S):
                        await send(_part(part))
            if rest := whole.rest():
                await send(_part(rest))
            await send({"type": "http.response.body", "body": b""})
            outcome = self.answer.outcome
        except TimeoutError:
            outcome = Outcome(LEFT, self.status_code, "the client reads no more")
            raise ClientLeftError from None
        except StreamBrokenError as error:
            outcome = Outcome("broken", self.status_code, f"in the stream: {error}")
            if not self.events:
                raise  # the connection is cut: the client sees that something is missing
            message = "the upstream's answer broke off; what came until here is incomplete"
            await send(_part(error_event(self.path, "upstream_failed", message)))
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.record.ended(outcome)
            await stream.aclose()


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _latin(value: str) -> bytes:
    return value.encode("ascii", "backslashreplace")


async def disconnected(receive: Receive) -> None:
    """Return once the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
