"""The client: a question in, its answer out, from the store where it was asked before, else from the endpoint.

Waits, retries, sets money aside and writes down every try. By httpx rather than the `openai` package: every try is paid
from the purse, so retries have to be ours, and what many endpoints call compatible does not pass that package's types.
Knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Self

import httpx

from router.errors import StoppedError, UnansweredError, UsageError
from router.llm.endpoint import Endpoint
from router.llm.limits import Pace
from router.llm.purse import Purse
from router.llm.question import Answer, Question
from router.llm.refusals import adapted
from router.llm.store import Store
from router.llm.transport import Reply, send

logger = logging.getLogger(__name__)

CONNECT_S = 10.0
ALL_FAIL = 20  # questions in a row that an endpoint refused, none before: something is wrong with all of them
PATIENCE_S = 60.0  # with an endpoint that has not answered anything yet


@dataclass
class Tally:
    """What a run did."""

    sent: int = 0  # requests, retries among them
    answered: int = 0
    cached: int = 0
    unanswered: int = 0
    spent_usd: float = 0.0  # of this run alone


@dataclass
class _Line:
    """What the client keeps of one endpoint."""

    http: httpx.AsyncClient  # of its own: httpx looks through all its connections for each request
    free: asyncio.Semaphore
    pace: Pace
    key: str | None
    refused: set[str] = field(default_factory=set)  # parameters that it does not take
    dearer: float = 1.0  # how much more than the most a question should cost one did cost
    failed_in_a_row: int = 0
    alive: bool = False  # it answered, or asked to wait


class Client:
    """Asks endpoints; an async context manager. A question asked twice at a time is sent once."""

    def __init__(self, store: Store, cap_usd: float | None = None) -> None:
        self.store, self.purse, self.tally = store, Purse(cap_usd, store.spent_usd), Tally()
        self.fatal: BaseException | None = None
        self._lines: dict[Endpoint, _Line] = {}
        self._under_way: dict[str, asyncio.Task[Answer]] = {}
        self._certificates = httpx.create_ssl_context()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for line in self._lines.values():
            await line.http.aclose()

    def stop(self, reason: BaseException) -> None:
        """Send nothing any more; what is under way is still received and kept. The first reason counts."""
        self.fatal = self.fatal or reason

    async def ask(self, endpoint: Endpoint, question: Question) -> Answer:
        """The answer.

        Raises:
            UnansweredError: this question was refused, or its deadline passed.
            StoppedError: nothing is sent any more, see `fatal` (a wrong key, the spending cap, an interrupt).
        """
        key = question.key(endpoint)
        answer = self.store.answer(key)
        if answer is not None:
            self.tally.cached += 1
            return answer
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._ask(key, endpoint, question))
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await task

    async def _ask(self, key: str, endpoint: Endpoint, question: Question) -> Answer:
        try:
            line = self._line(endpoint)
            async with line.free:
                answer = await self._until_answered(key, endpoint, question, line)
        except UnansweredError as error:
            self.tally.unanswered += 1
            line.failed_in_a_row += 1
            if line.failed_in_a_row >= ALL_FAIL and not line.alive:
                self.stop(UsageError(f"{ALL_FAIL} questions in a row failed and none succeeded; the last: {error}"))
            raise
        except UsageError as error:  # of the key, the endpoint or the cap: it holds for every other question too
            self.stop(error)
            raise StoppedError(str(error)) from error
        line.failed_in_a_row, line.alive = 0, True
        self.tally.answered += 1
        return answer

    def _line(self, endpoint: Endpoint) -> _Line:
        if endpoint not in self._lines:
            key, most = endpoint.key(), endpoint.parallel
            http = httpx.AsyncClient(
                verify=self._certificates,
                limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
                timeout=httpx.Timeout(None, connect=CONNECT_S),
            )
            self._lines[endpoint] = _Line(http, asyncio.Semaphore(most), Pace(endpoint.limits), key)
        return self._lines[endpoint]

    async def _until_answered(self, key: str, endpoint: Endpoint, question: Question, line: _Line) -> Answer:
        """Tries until there is an answer or the deadline has passed."""
        clock = asyncio.get_running_loop().time
        start, tries, problem = clock(), 0, "none"
        while (left_s := self._patience_s(endpoint, line) - (clock() - start)) > 0:
            reply = await self._paid_try(key, endpoint, question, line, tries)
            if reply.answer is not None:
                return reply.answer
            tries, problem = tries + 1, reply.problem
            await asyncio.sleep(min(left_s, self._wait_s(reply, endpoint, line)))
        told = f"gave no answer within {clock() - start:.1f} s ({tries} tries; last problem: {problem})"
        if not line.alive:
            raise UsageError(f"{endpoint.url} {told}, nor to any other question: is it there, is the address right?")
        raise UnansweredError(f"{endpoint.model} {told}")

    def _wait_s(self, reply: Reply, endpoint: Endpoint, line: _Line) -> float:
        """Seconds until the question may be asked again after a reply that is no answer; raises where it may not."""
        if reply.outcome == "hopeless":
            raise UsageError(
                f"{endpoint.url} does not answer for model {endpoint.model}: {reply.problem}. Check the address, the "
                "model's name and the key; what was answered is kept, run the same command again"
            )
        if reply.outcome == "never":
            raise UnansweredError(f"{endpoint.model} refused: {reply.problem}")
        if reply.outcome == "otherwise":
            if not line.refused.issuperset(reply.refused):
                logger.warning("%s takes no %s: asked without", endpoint.model, ", ".join(reply.refused))
            line.refused.update(reply.refused)
            return 0.0
        if not reply.overloaded:
            return reply.wait_s
        if reply.wait_s > endpoint.deadline_s:
            raise UsageError(
                f"{endpoint.url} asks to wait {reply.wait_s:.0f} s ({reply.problem}): what was answered is kept, run "
                "the same command again later"
            )
        line.alive = True
        line.pace.pause(reply.wait_s)  # for all of the endpoint's questions
        return 0.0

    def _patience_s(self, endpoint: Endpoint, line: _Line) -> float:
        """How long a question may take with all its tries."""
        return endpoint.deadline_s if line.alive else min(endpoint.deadline_s, PATIENCE_S)

    async def _paid_try(self, key: str, endpoint: Endpoint, question: Question, line: _Line, tries: int) -> Reply:
        """One try, its cost reserved before and settled after."""
        most_usd = question.most_usd(endpoint) * line.dearer
        await self.purse.reserve(most_usd)
        usd = 0.0
        try:
            await line.pace.turn(question.usual_input_tokens + question.most_tokens)
            if self.fatal is not None:
                raise StoppedError(str(self.fatal))
            usd = most_usd
            reply = await self._recorded_try(key, endpoint, question, line, most_usd, tries)
            usd = reply.usd
        finally:
            self.tally.spent_usd += usd
            await self.purse.settle(most_usd, usd)
        if usd > most_usd > 0:
            self._count_dearer(endpoint, line, usd / question.most_usd(endpoint))
        return reply

    def _count_dearer(self, endpoint: Endpoint, line: _Line, ratio: float) -> None:
        """Set more aside from now on for an endpoint that counted more tokens than a question allows."""
        if line.dearer == 1.0:
            logger.warning(
                "%s counted %.2f times the most that its question allows: more is set aside from now on, and what was "
                "under way may exceed the cap", endpoint.model, ratio,
            )  # fmt: skip
        line.dearer = max(line.dearer, ratio)

    async def _recorded_try(
        self, key: str, endpoint: Endpoint, question: Question, line: _Line, most_usd: float, tries: int
    ) -> Reply:
        """One try, written down before it is sent and after."""
        number = self.store.begin(key, most_usd)
        self.tally.sent += 1
        usd, answer = most_usd, None
        try:
            body = adapted(question.body(endpoint), line.refused)
            reply = await send(line.http, endpoint, line.key, body, question, most_usd, tries)
            usd, answer = reply.usd, reply.answer
        finally:
            self.store.settle(number, key, usd, answer)
        return reply
