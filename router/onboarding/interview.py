"""Interview of a model: anchor questions are sent to its endpoint within a spending cap, and the answers graded.

Answers are kept in the client's store, so that an interview that was stopped goes on where it was. It knows neither
checkpoints nor profiles. Axis: n questions.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tqdm import tqdm

from router.errors import GradingError, UnansweredError
from router.grading.grading import grade
from router.llm.client import Client
from router.llm.endpoint import Endpoint
from router.llm.question import Answer, Message, Question
from router.llm.session import WINDOW, in_order, show
from router.llm.store import Store
from router.onboarding.anchor_questions import AnchorQuestion
from router.onboarding.graded_answers import Answers, make_answers
from router.onboarding.profile_fit import Array

PATIENCE_S = 600.0  # for one answer: a model that thinks takes minutes, and an answer given up is paid for
ENOUGH = 0.5  # share of the questions whose answers suffice for a profile


@dataclass(frozen=True)
class Graded:
    """The answers that there are, and what became of the other questions."""

    answers: Answers
    cut: int  # answers that ended at the limit of tokens; without a final answer they count as wrong
    missing: int  # questions without an answer


@dataclass(frozen=True)
class Interview:
    """Questions to one model."""

    endpoint: Endpoint
    anchors: Sequence[AnchorQuestion]
    most_tokens: int  # of an answer, with its hidden reasoning

    @property
    def enough(self) -> int:
        """The fewest answers that a profile is fitted from."""
        return math.ceil(ENOUGH * len(self.anchors))

    def question(self, anchor: AnchorQuestion) -> Question:
        """The question as it is sent."""
        return Question((Message("user", anchor.prompt),), self.most_tokens)

    def kept(self, store: Store) -> list[Answer | None]:
        """The answer in the store, or None, of each question."""
        return [store.answer(self.question(each).key(self.endpoint)) for each in self.anchors]

    def expected_usd(self, output_tokens: Array, kept: Sequence[Answer | None]) -> float:
        """Expected cost of the questions that are not `kept`, if answers have `output_tokens` (n,)."""
        asked = zip(self.anchors, output_tokens.clip(max=self.most_tokens), kept, strict=True)
        return sum(
            self.endpoint.cost_usd(self.question(each).usual_input_tokens, float(tokens))
            for each, tokens, answer in asked
            if answer is None
        )

    async def hold(self, client: Client, bar: tqdm) -> list[str]:
        """Ask every question; returns why those without an answer have none. Raises what `Client.ask` raises."""
        patient = replace(self.endpoint, timeout_s=max(self.endpoint.timeout_s, PATIENCE_S))

        async def work(anchor: AnchorQuestion) -> str | None:
            try:
                await client.ask(patient, self.question(anchor))
            except UnansweredError as error:
                return str(error)
            return None

        problems = []
        rows = in_order(self.anchors, work, WINDOW * patient.parallel)
        async with contextlib.aclosing(rows):
            async for _, problem in rows:
                show(bar, client)
                problems += [problem] if problem else []
        return problems

    def graded(self, store: Store) -> Graded:
        """The answers in the store with their grades. A length that the endpoint did not count is unknown."""
        queries, scores, tokens, cut = [], [], [], 0
        for anchor, answer in zip(self.anchors, self.kept(store), strict=True):
            if answer is None:
                continue
            try:
                scores.append(grade(anchor.task, answer.text))
            except GradingError:
                continue
            queries.append(anchor.query)
            tokens.append(answer.output_tokens if answer.counted else math.nan)
            cut += answer.finish == "length"
        return Graded(make_answers(queries, scores, tokens), cut, len(self.anchors) - len(queries))
