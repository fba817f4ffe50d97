"""Reading of long texts: the task is found at the start, the end, in the middle, and among many questions."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.encoding.reading import parts
from router.encoding.sentence_folder import read_folder
from router.encoding.tokenizer import QueryTokenizer
from router.encoding.wrappers import opened, transcript

REPOSITORY = Path(__file__).resolve().parents[3]
MOST = 128
NOUNS = "river stone harbour miller lantern orchard winter ferry village market bridge valley".split()
VERBS = "carried followed watched crossed guarded measured painted repaired".split()
TASKS = [
    "Write a Python function that merges two sorted lists.",
    "Translate the second paragraph into Portuguese, please.",
    "How many people could the boat carry at low water?",
    "¿Cuántas personas caben en el barco?",
    "请用三句话总结这篇文章。",
    "Fasse den Text in drei Sätzen zusammen.",
    "この文章の要点を教えてください。",
]


@pytest.fixture(scope="module")
def tokenizer() -> QueryTokenizer:
    return QueryTokenizer(read_folder(REPOSITORY / "checkpoints/routemix/encoder")[0], MOST)


def sentence(draw: random.Random) -> str:
    a, b, c = draw.sample(NOUNS, 3)
    return f"The {a} {draw.choice(VERBS)} the {b} near the old {c}."


def document(words: int, seed: int = 0) -> list[str]:
    """Paragraphs of a story that asks nothing."""
    draw = random.Random(seed)
    return [" ".join(sentence(draw) for _ in range(6)) for _ in range(words // 54)]


def first(text: str) -> str:
    return parts(text).instruction[0].text


def tokens_kept(tokenizer: QueryTokenizer, task: str, text: str) -> bool:
    """Whether the ids of `text` contain those of `task`, in a row."""
    ids = tokenizer.tokenize([text])[0]
    wanted = tokenizer.tokenize([task])[0][1:-1]
    assert len(ids) <= tokenizer.max_tokens
    return any(ids[at : at + len(wanted)] == wanted for at in range(len(ids)))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("words", [2000, 20_000])
@pytest.mark.parametrize("where", [0.0, 0.37, 0.5, 1.0])
def test_the_task_of_a_long_document_is_kept_wherever_it_stands(
    tokenizer: QueryTokenizer, task: str, words: int, where: float
) -> None:
    told = document(words)
    told.insert(round(where * len(told)), task)
    assert tokens_kept(tokenizer, task, "\n\n".join(told))
    assert tokens_kept(tokenizer, task, "\n".join(told))


def test_the_task_is_kept_in_the_last_user_turn(tokenizer: QueryTokenizer) -> None:
    story = "\n\n".join(document(3000))
    turns = [("system", "You are a clerk. " * 200), ("user", story), ("assistant", story), ("user", TASKS[0])]
    for text in (
        transcript(turns),
        "\n\n".join(f"{role.title()}: {said}" for role, said in turns),
        json.dumps({"messages": [{"role": role, "content": said} for role, said in turns]}),
        json.dumps({"context": story, "question": TASKS[0]}),
    ):
        assert tokens_kept(tokenizer, TASKS[0], text)


@pytest.mark.parametrize("at_start", [True, False])
@pytest.mark.parametrize("speaker", ["", "Interviewer: ", "Q: ", "**Question:** "])
def test_a_document_full_of_questions_does_not_drown_the_task(
    tokenizer: QueryTokenizer, at_start: bool, speaker: str
) -> None:
    asked = [f"{speaker}Why did the {a} fall in {year}?\n\nIt was the {b}, as ever, and the rain." for year, (a, b) in
             enumerate(zip(NOUNS * 9, NOUNS[1:] * 9, strict=False), 1800)]  # fmt: skip
    task = "Summarise the conversation in one sentence."
    text = "\n\n".join([task, *asked] if at_start else [*asked, task])
    assert first(text) == task
    assert tokens_kept(tokenizer, task, text)


@pytest.mark.parametrize(
    "block",
    [
        "```python\n" + "print('Write a poem?')\n" * 300 + "```",
        "> Please write a poem.\n" * 300,
        "| Explain | what? |\n" * 300,
        "2026-01-02 10:00:00 ERROR please explain what?\n" * 300,
        "[\n" + '  {"please": "explain what?"},\n' * 300 + "]",
        "<document>\n" + "Please explain it.\n" * 300 + "</document>",
    ],
    ids=["code", "quote", "table", "log", "json", "document"],
)
def test_requests_in_material_are_none(block: str) -> None:
    for text in (f"Why does it fail?\n\n{block}", f"{block}\n\nWhy does it fail?"):
        found = parts(text)
        assert [piece.text for piece in found.instruction] == ["Why does it fail?"]
        assert found.material.strip()[:5] == block[:5]


def test_a_label_and_a_tag_name_the_task() -> None:
    story = "\n\n".join(document(3000))
    half = len(story) // 2
    labelled = "Aufgabe: drei Namen aus der Geschichte"
    assert first(f"{story[:half]}\n\n{labelled}\n\n{story[half:]}") == labelled
    assert first(f"{story}\n<question>\nthe number of boats\n</question>\n{story}") == "the number of boats"


def test_who_answers_is_not_the_task() -> None:
    persona = "You are a helpful assistant. Answer in Markdown. Explain every step."
    assert first("\n\n".join([persona, *document(3000), TASKS[2]])) == TASKS[2]


def test_without_a_request_start_and_end_are_read(tokenizer: QueryTokenizer) -> None:
    told = document(3000)
    found = [piece.text for piece in parts("\n\n".join(told)).instruction]
    assert found[0] == told[-1].split(". ")[-1]
    assert found[1] == told[0].split(". ")[0] + "."


def test_a_system_prompt_takes_little_of_a_short_task(tokenizer: QueryTokenizer) -> None:
    plain = tokenizer.tokenize([TASKS[0]])[0]
    framed = tokenizer.tokenize([transcript([("system", "Be a clerk. " * 500), ("user", TASKS[0])])])[0]
    assert framed[: len(plain) - 1] == plain[:-1]
    assert len(framed) <= 1.25 * len(plain)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(["word " * 40, "why? ", "\n\n", "请写。", "```\n", "<a>", "</a>", "> ", "Task:",
                                 "\u0130"]) | st.text(), max_size=40), st.integers(4, 40))  # fmt: skip
def test_any_text_is_read_within_the_limit_and_a_short_one_as_it_is(
    tokenizer: QueryTokenizer, pieces: list[str], most: int
) -> None:
    text = "".join(pieces).encode("utf-8", "ignore").decode()
    short = QueryTokenizer.__new__(QueryTokenizer)
    short.__dict__ |= tokenizer.__dict__ | {"max_tokens": most}
    (ids,) = short.tokenize([text])
    assert len(ids) <= most
    everything = tokenizer.tokenizer.encode(text).ids
    if len(everything) <= most and len(text) < 1000 and not opened(text).wrapped:
        assert ids == everything


UNITS = [
    "a",
    " ",
    "\n",
    "a. ",
    "? ",
    "a\n",
    "```\n",
    "<a>\n",
    "<tools>",
    "User:\n",
    "<|user|>x",
    "{",
    "> a\n",
    "-",
    "#",
]


@pytest.mark.parametrize("unit", UNITS)
def test_a_megabyte_of_anything_is_read_in_linear_time(tokenizer: QueryTokenizer, unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    started = time.process_time()
    assert len(tokenizer.tokenize([text])[0]) <= tokenizer.max_tokens
    assert time.process_time() - started < 3  # quadratic time would be minutes
