"""Trials of one query: every model of a pool answers it, and each answer is graded. It does not know files."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.errors import GradingError, UnansweredError
from router.grading.grading import Task, grade
from router.grading.judge import Judge, Judgement
from router.llm.client import Client
from router.llm.endpoint import Endpoint
from router.llm.question import Answer, Message, Question
from train.collect.code_tests import CodeRunner
from train.data_folders.query_file import QueryRow

EVEN = 0.5  # score of a model against its own answer


@dataclass(frozen=True)
class Trial:
    """One answer and its grade."""

    model: str
    number: int  # from 0
    answer: Answer
    score: float  # in [0, 1]
    judge_usd: float


@dataclass(frozen=True)
class Missing:
    """A trial without a grade, and why."""

    model: str
    number: int
    problem: str


@dataclass(frozen=True)
class Settings:
    """Settings of every query's trials."""

    endpoints: Mapping[str, Endpoint]  # of the pool's entries, by id
    trials: int
    most_tokens: int
    temperature: float
    against: str | None  # entry whose answers the others are compared with


async def run_query(
    client: Client, row: QueryRow, task: Task, settings: Settings, judge: Judge | None, code: CodeRunner | None
) -> Sequence[Trial | Missing]:
    """All trials of one query, by model, then number. `judge` and `code` are None where no query needs them."""

    async def one(model: str, number: int) -> Trial | Missing:
        try:
            answer = await _answer(client, row, settings, model, number)
            other = None
            if task.kind == "pairwise":
                named = settings.against
                other = task.right[0] if named is None else (await _answer(client, row, settings, named, number)).text
            even = task.kind == "pairwise" and model == settings.against
            given = Judgement(EVEN, 0.0) if even else await _graded(task, row.text, answer.text, other, judge, code)
        except (UnansweredError, GradingError) as error:
            return Missing(model, number, str(error))
        return Trial(model, number, answer, given.score, given.usd)

    return await asyncio.gather(*(one(model, n) for model in settings.endpoints for n in range(settings.trials)))


async def _answer(client: Client, row: QueryRow, settings: Settings, model: str, number: int) -> Answer:
    question = Question(
        (Message("user", row.text),), settings.most_tokens, temperature=settings.temperature, number=number
    )
    return await client.ask(settings.endpoints[model], question)


async def _graded(
    task: Task, query: str, answer: str, other: str | None, judge: Judge | None, code: CodeRunner | None
) -> Judgement:
    if task.kind == "code" and code is not None:
        return Judgement(await code.grade(answer, task.tests), 0.0)
    if task.kind == "judge" and judge is not None:
        return await judge.points(task, query, answer)
    if task.kind == "pairwise" and judge is not None and other is not None:
        return await judge.against(task, query, answer, other)
    return Judgement(grade(task, answer), 0.0)
