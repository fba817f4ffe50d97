"""Wrappers: what surely wraps a task is opened, what merely looks so stays as it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.encoding.wrappers import MOST_DEEP, opened, transcript

TASK = "How many eggs does a goose lay in spring?"
MESSAGES = [
    {"role": "system", "content": "You are a farmer of few words."},
    {"role": "user", "content": "Do geese fly far?"},
    {"role": "assistant", "content": "Some do."},
    {"role": "user", "content": [{"type": "text", "text": TASK}]},
]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"model": "m", "temperature": 0.5, "prompt": TASK}),
        json.dumps({"Question": TASK, "id": 7}),
        json.dumps({"task": "qa", "input": TASK}),
        json.dumps({"model": "m", "messages": MESSAGES}),
        json.dumps(MESSAGES),
        json.dumps({"input": {"role": "user"}, "query": TASK}),
        f"```\n{TASK}\n```",
        f"~~~text\n{TASK}\n~~~",
        "```json\n" + json.dumps({"query": TASK}) + "\n```",
        f"> {TASK}",
        "> " + TASK.replace("does", "does\n>"),
        f"User: Do geese fly?\nAssistant: Some.\nUser: {TASK}",
        f"Human: Do geese fly?\n\nAssistant: Some.\n\nHuman: {TASK}\n\nAssistant:",
        f"**User:** Do geese fly?\n**Assistant:** Some.\n**User:** {TASK}",
        f"Q: Do geese fly?\nA: Some.\nQ: {TASK}\nA:",
        f"<|system|>\nBe brief.\n<|user|>\n{TASK}\n<|assistant|>\n",
        f"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{TASK}<|im_end|>\n<|im_start|>assistant\n",
        f"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{TASK}<|eot_id|>",
        f"Below is an instruction.\n\n### Instruction:\n{TASK}\n\n### Response:\n",
        f"<system-reminder>Tests must pass.</system-reminder>\n{TASK}",
        f"{TASK}\n<environment_details>\nfiles: a.py\n</environment_details>",
        json.dumps({"prompt": f"```\n> {TASK}\n```"}),
    ],
)
def test_the_task_is_read_without_its_wrapper(text: str) -> None:
    found = opened(text)
    assert " ".join(found.task.split()) == TASK
    assert found.wrapped


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        TASK,
        'Parse this: {"prompt": "x y"}',
        '{"prompt": "x y"} is what I sent.',
        '{"prompt": ""}',
        '{"name": "goose", "eggs": 7}',
        "{not json}",
        "[1, 2]",
        "```python\nprint(7)\n```",
        "```\nfor (;;) {\n  wait();\n}\n```",
        "Fix it:\n```\nhello there\n```",
        "```\none two\n```\nand\n```\nthree four\n```",
        ">>> print(7)\n7",
        "> quoted\nWhat does it mean?",
        "Explain what <|user|> means in a template.",
        "User: Do geese fly?\nAssistant: Some do.",
        "Summarise this chat.\nUser: Do geese fly?\nAssistant: Some.\nUser: Fine.",
        "Question: How many?\nAnswer:",
        "Question: Which?\nA: one\nB: two",
        "<system-reminder>never closed. Why?",
        "<system-reminder>nothing besides</system-reminder>",
    ],
)
def test_what_is_not_surely_a_wrapper_stays(text: str) -> None:
    found = opened(text)
    assert (found.task, found.wrapped) == (text, False)


def test_other_turns_and_fields_are_material_and_system_prompts_the_frame() -> None:
    found = opened(json.dumps({"messages": MESSAGES, "tools": [{"name": "count"}]}))
    assert found.material == ("Do geese fly far?", "Some do.")
    assert found.frame == ("You are a farmer of few words.", '[{"name": "count"}]')
    found = opened(json.dumps({"instruction": "Translate it.", "input": "The goose is grey.", "model": "m-7"}))
    assert (found.task, found.material) == ("Translate it.", ("The goose is grey.",))


def test_a_conversation_is_read_turn_by_turn_whatever_its_turns_contain() -> None:
    said = "User: not a turn\n<|user|>\nneither"
    found = opened(transcript([("user", "First."), ("user", TASK), ("tool", said)]))
    assert found.task == TASK
    assert found.material == ("First.", said.replace("<|", "< |"))


def test_half_a_surrogate_pair_in_json_becomes_text() -> None:
    assert opened('{"prompt": "half \\ud800 of it"}').task == "half ? of it"


def test_wrappers_are_opened_to_a_limit() -> None:
    text = TASK
    for _ in range(MOST_DEEP + 2):
        text = json.dumps({"prompt": text})
    assert opened(opened(text).task).task == TASK


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(["User:", "A:", "{", "}", '"prompt":', '"x y"', "```", "> ", "<tools>", "</tools>",
                                 "<|user|>", "### Input:", "\n", "?", "word ", "\u0130"]) | st.text()))  # fmt: skip
def test_any_text_is_opened_and_never_to_nothing(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert bool(opened(text).task.strip()) == bool(text.strip())
