"""LLM client: answers from the cache or from an endpoint, with retries, rate limits and a spending cap.

It uses httpx instead of the `openai` package for two reasons: every attempt counts against the spending cap, so retries
have to be ours; and many compatible endpoints send JSON that the package's types refuse.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from math import inf
from typing import Self

import httpx

from router.errors import StoppedError, UnansweredError, UsageError
from router.llm.endpoint import Endpoint
from router.llm.limits import Pace, SpendingCap
from router.llm.question import Answer, Question
from router.llm.store import Store
from router.llm.transport import Reply, send, without_parameters

logger = logging.getLogger(__name__)

CONNECT_S = 10.0
ALL_FAIL = 20  # questions in a row that an endpoint refused, and none that it answered: something is wrong with all
PATIENCE_S = 60.0  # with an endpoint that has not answered any question yet


@dataclass
class Tally:
    """Counts and cost of a run."""

    sent: int = 0  # requests, including retries
    answered: int = 0
    cached: int = 0
    unanswered: int = 0
    spent_usd: float = 0.0  # of this run alone


@dataclass
class _EndpointState:
    """Connections, limits and history of one endpoint."""

    http: httpx.AsyncClient  # one for each endpoint: httpx looks through all its connections for each request
    free: asyncio.Semaphore
    pace: Pace
    key: str | None
    unsupported: set[str] = field(default_factory=set)  # parameters that it does not take
    excess: float = 1.0  # largest ratio of a question's cost to the most that it should have cost
    failed_in_a_row: int = 0
    alive: bool = False  # it answered, or asked to wait


class Client:
    """LLM client as an async context manager. Equal questions that are asked at the same time are sent once."""

    def __init__(self, store: Store, cap_usd: float | None = None) -> None:
        self.store, self.cap, self.tally = store, SpendingCap(cap_usd, store.spent_usd), Tally()
        self.fatal: BaseException | None = None
        self._states: dict[Endpoint, _EndpointState] = {}
        self._under_way: dict[str, asyncio.Task[Answer]] = {}
        self._certificates = httpx.create_ssl_context()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for state in self._states.values():
            await state.http.aclose()

    def stop(self, reason: BaseException) -> None:
        """Send no further request; answers under way are still received and kept. The first reason counts."""
        self.fatal = self.fatal or reason

    async def ask(self, endpoint: Endpoint, question: Question) -> Answer:
        """The answer.

        Raises:
            UnansweredError: this question was refused, or its deadline passed.
            StoppedError: no further question is sent, see `fatal` (a wrong key, the spending cap, an interrupt).
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
            state = self._state(endpoint)
            async with state.free:
                answer = await self._until_answered(key, endpoint, question, state)
        except UnansweredError as error:
            self.tally.unanswered += 1
            state.failed_in_a_row += 1
            if state.failed_in_a_row >= ALL_FAIL and not state.alive:
                self.stop(UsageError(f"{ALL_FAIL} questions in a row failed and none succeeded; the last: {error}"))
            raise
        except UsageError as error:  # about the key, the endpoint or the cap: it holds for every other question too
            self.stop(error)
            raise StoppedError(str(error)) from error
        state.failed_in_a_row, state.alive = 0, True
        self.tally.answered += 1
        return answer

    def _state(self, endpoint: Endpoint) -> _EndpointState:
        if endpoint not in self._states:
            key, most = endpoint.key(), endpoint.parallel
            http = httpx.AsyncClient(
                verify=self._certificates,
                limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
                timeout=httpx.Timeout(None, connect=CONNECT_S),
            )
            self._states[endpoint] = _EndpointState(http, asyncio.Semaphore(most), Pace(endpoint.limits), key)
        return self._states[endpoint]

    async def _until_answered(self, key: str, endpoint: Endpoint, question: Question, state: _EndpointState) -> Answer:
        """Attempts until there is an answer or the deadline has passed."""
        clock = asyncio.get_running_loop().time
        start, attempts, problem = clock(), 0, "none"
        while (left_s := min(endpoint.deadline_s, inf if state.alive else PATIENCE_S) - (clock() - start)) > 0:
            reply = await self._attempt(key, endpoint, question, state, attempts)
            if reply.answer is not None:
                return reply.answer
            attempts, problem = attempts + 1, reply.problem
            await asyncio.sleep(min(left_s, self._wait_s(reply, endpoint, state)))
        failure = f"gave no answer within {clock() - start:.1f} s ({attempts} attempts; last problem: {problem})"
        if not state.alive:
            raise UsageError(f"{endpoint.url} {failure}, nor to any other question: is it there, is the address right?")
        raise UnansweredError(f"{endpoint.model} {failure}")

    def _wait_s(self, reply: Reply, endpoint: Endpoint, state: _EndpointState) -> float:
        """Seconds to wait before the next attempt, after a reply that is no answer; raises where there is none."""
        if reply.outcome == "fatal":
            raise UsageError(
                f"{endpoint.url} does not answer for model {endpoint.model}: {reply.problem}. Check the address, the "
                "model's name and the key, then run the same command again; answers are kept"
            )
        if reply.outcome == "refused":
            raise UnansweredError(f"{endpoint.model} refused: {reply.problem}")
        if reply.outcome == "adapt":
            if not state.unsupported.issuperset(reply.unsupported):
                logger.warning("%s does not take %s: sent without", endpoint.model, ", ".join(reply.unsupported))
            state.unsupported.update(reply.unsupported)
            return 0.0
        if not reply.overloaded:
            return reply.wait_s
        if reply.wait_s > endpoint.deadline_s:
            raise UsageError(
                f"{endpoint.url} asks to wait {reply.wait_s:.0f} s ({reply.problem}): run the same command again "
                "later; answers are kept"
            )
        state.alive = True
        state.pace.pause(reply.wait_s)
        return 0.0

    async def _attempt(
        self, key: str, endpoint: Endpoint, question: Question, state: _EndpointState, attempts: int
    ) -> Reply:
        """One attempt: its cost is reserved before and settled after; the store knows of it before it is sent."""
        most_usd = question.most_usd(endpoint) * state.excess
        await self.cap.reserve(most_usd)
        usd, answer = 0.0, None
        try:
            await state.pace.turn(question.usual_input_tokens + question.most_tokens)
            if self.fatal is not None:
                raise StoppedError(str(self.fatal))
            usd = most_usd
            number = self.store.begin(key, most_usd)
            self.tally.sent += 1
            try:
                body = without_parameters(question.body(endpoint), state.unsupported)
                reply = await send(state.http, endpoint, state.key, body, question, most_usd, attempts)
                usd, answer = reply.usd, reply.answer
            finally:
                self.store.settle(number, key, usd, answer)
        finally:
            self.tally.spent_usd += usd
            await self.cap.settle(most_usd, usd)
        if usd > most_usd > 0:  # the endpoint counted more tokens than a question allows
            ratio = usd / question.most_usd(endpoint)
            if state.excess == 1.0:
                logger.warning(
                    "%s counted %.2f times the most that its question allows: more is reserved from now on, and "
                    "requests under way may exceed the cap", endpoint.model, ratio,
                )  # fmt: skip
            state.excess = max(state.excess, ratio)
        return reply
