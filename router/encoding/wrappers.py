"""Wrappers of a task: JSON bodies, code fences, block quotes, chat transcripts and reminders, opened where it is sure.

A wrapper must be the whole text; a text that merely contains one stays as it is. Transcripts are also written here, so
that a conversation and a pasted transcript are read alike. It knows no tokenizer, and takes time linear in the text.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_DEEP = 4  # wrappers within wrappers that are opened
TASK_FIELDS = ("question", "query", "task", "instruction", "prompt", "message", "input", "content", "instructions")
FRAME_FIELDS = {"system", "system_prompt", "instructions", "tools", "functions", "response_format", "metadata"}
USER, ASSISTANT, FRAME, OTHER = "user", "assistant", "frame", "other"
ROLES = {
    USER: "user human instruction question q prompter",
    ASSISTANT: "assistant ai bot model chatgpt gpt response answer a output",
    FRAME: "system developer tools",
    OTHER: "tool function input context observation",
}
ROLE_OF = {name: role for role, names in ROLES.items() for name in names.split()}
_NAMES = "|".join(ROLE_OF)
# A mark opens a turn. The first mark of a text says which style it is written in; others are part of what is said.
TOKENS = re.compile(rf"<\|(?:im_start\|>)?({_NAMES})\b(?:\|>)?:?[ \t]*\n?|"
                    rf"<\|start_header_id\|>({_NAMES})<\|end_header_id\|>\s{{0,2}}", re.I)  # fmt: skip
HEADINGS = re.compile(rf"^#{{2,3}} ?({_NAMES}):[ \t]*\n?", re.I | re.M)
NAMES = re.compile(r"^(?:\*\*)?(user|human|assistant|ai|bot|model|chatgpt|system|q|a|question|answer)(?::\*\*|\*\*:|:)",
                   re.I | re.M)  # fmt: skip
_BEFORE = 1000  # characters before the first heading; more is a document that shows a transcript
_END = re.compile(r"<\|(?:im_end|end|eot_id|endoftext|end_of_text|begin_of_text)\|>|</?s>")
_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*(?:text|txt|plain|plaintext|markdown|md|prompt|json)?[ \t]*\n", re.I)
_REMINDER = re.compile(
    r"<((?:system[-_]|important[-_])?reminder|system[-_]prompt|system|environment[-_](?:details|context)|user[-_]info|"
    r"(?:available[-_])?tools|functions|tool[-_](?:definitions|schemas?))(?:\s[^<>\n]{0,200})?>"
)
_CODE = re.compile(r"^(?:\s*(?:def|class|import|from|return|const|let|var|function|public|SELECT|#include)\b|"
                   r"[ \t]*[\w.]+(?:\(| ?= ?)|.*[;{}]$)", re.M)  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """A text without its wrappers.

    `task` is never blank unless the text is. `material` comes with the task, its most important text first; `frame` is
    what is never the task: system prompts, reminders, tool schemas. `wrapped`: the task is not the text itself.
    """

    task: str
    material: tuple[str, ...] = ()
    frame: tuple[str, ...] = ()
    wrapped: bool = False


def opened(text: str) -> Opened:
    """`text` without the wrappers that are surely there.

    >>> opened('{"model": "x", "prompt": "Prove it."}').task, opened("User: Hi\\nAssistant: Yes?\\nUser: Go on").task
    ('Prove it.', 'Go on')
    """
    if not isinstance(text, str):
        raise TypeError(f"got {type(text).__name__}")
    found = Opened(text)
    for _ in range(MOST_DEEP):
        inner = _inner(found.task)
        if inner is None:
            break
        found = Opened(_text(inner.task), found.material + inner.material, found.frame + inner.frame, wrapped=True)
    material, frame = (tuple(_text(each) for each in some if each.strip()) for some in (found.material, found.frame))
    return Opened(found.task, material, frame, found.wrapped)


def transcript(turns: Sequence[tuple[str, str]]) -> str:
    """The turns (role, text) of a conversation as one text that `opened` reads turn by turn.

    >>> transcript([("system", "Be brief."), ("user", "Why?")])
    '<|system|>\\nBe brief.\\n<|user|>\\nWhy?'
    """
    return "\n".join(f"<|{role}|>\n{text.replace('<|', '< |')}" for role, text in turns)


def _inner(text: str) -> Opened | None:
    """What one wrapper contains; None where the text is no wrapper."""
    stripped = text.strip()
    for way in (_of_reminders, _of_json, _of_fence, _of_quote, _of_transcript):
        found = way(stripped)
        if found is not None and found.task.strip():
            return found
    return None


def _of_reminders(text: str) -> Opened | None:
    """The text around `<system-reminder>...</system-reminder>` and the like."""
    kept, frame, start, unclosed = [], [], 0, set[str]()
    for opening in _REMINDER.finditer(text):
        name = opening[1]
        if opening.start() < start or name in unclosed:
            continue
        end = text.find(f"</{name}>", opening.end())
        if end < 0:
            unclosed.add(name)
            continue
        kept.append(text[start : opening.start()])
        frame.append(text[opening.end() : end])
        start = end + len(name) + 3
    return Opened("".join([*kept, text[start:]]).strip(), frame=tuple(frame)) if frame else None


def _of_json(text: str) -> Opened | None:
    if (text[:1], text[-1:]) not in {("{", "}"), ("[", "]")}:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _of_value(value)


def _of_value(value: object) -> Opened | None:
    """The task in a JSON value: the last user message, or the field that is named like a task."""
    if isinstance(value, list):
        return _of_messages(value)
    if not isinstance(value, Mapping):
        return None
    fields = {str(name).lower(): each for name, each in value.items()}
    chosen, found = "messages", _of_messages(fields.get("messages"))
    if found is None:
        texts = {name: text for name in TASK_FIELDS if (text := _content(fields.get(name))).strip()}
        if not texts:
            return None
        spoken = [name for name, text in texts.items() if not re.fullmatch(r"[\w.-]+", text, re.A)]
        chosen = [*spoken, *texts][0]
        found = (not isinstance(fields[chosen], str) and _of_messages(fields[chosen])) or Opened(texts[chosen])
    rest = {name: each for name, each in fields.items() if name != chosen}
    material = tuple(_shown(each) for name, each in rest.items() if name not in FRAME_FIELDS)
    frame = tuple(_shown(each) for name, each in rest.items() if name in FRAME_FIELDS)
    return Opened(found.task, found.material + material, found.frame + frame)


def _of_messages(value: object) -> Opened | None:
    """The task in a list of messages of OpenAI's shape."""
    if not (isinstance(value, list) and value and all(isinstance(each, Mapping) and "role" in each for each in value)):
        return None
    return _of_turns([(ROLE_OF.get(str(each["role"]).lower(), OTHER), _content(each.get("content"))) for each in value])


def _content(value: object) -> str:
    """A message's text: a string, or the texts of a list of parts."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else []
    texts = (each.get("text", each.get("content")) if isinstance(each, Mapping) else each for each in parts)
    return "\n".join(each for each in texts if isinstance(each, str))


def _shown(value: Any) -> str:
    """A field's value as material; nothing for a setting such as a number or a model's name."""
    if isinstance(value, str):
        return value if len(value.split(maxsplit=2)) > 2 or not value.isascii() else ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | Mapping) and value else ""


def _of_fence(text: str) -> Opened | None:
    """The prose in a code fence; code stays code."""
    opening = _FENCE.match(text)
    if opening is None or not text.endswith(opening[1]):
        return None
    content = text[opening.end() : len(text) - len(opening[1])]
    inside = "\n" + content
    if "\n" + opening[1] in inside or not inside.endswith("\n"):
        return None
    if content.strip()[:1] in "{[":
        return Opened(content) if _of_json(content.strip()) else None
    head = content[:5000]
    return None if 2 * len(_CODE.findall(head)) > head.count("\n") else Opened(content)


def _of_quote(text: str) -> Opened | None:
    """The text of a Markdown block quote."""
    if not text.startswith(">") or text.startswith(">>>"):
        return None
    lines = text.split("\n")
    if not all(line.startswith(">") or not line.strip() for line in lines):
        return None
    return Opened("\n".join(line[1:].removeprefix(" ") for line in lines))


def _of_transcript(text: str) -> Opened | None:
    start = _END.match(text)
    text = text[start.end() :].lstrip() if start else text
    heading = HEADINGS.search(text, 0, _BEFORE)
    if TOKENS.match(text):
        return _of_turns(_turns(text, TOKENS))
    if heading:
        return _of_turns([(FRAME, text[: heading.start()]), *_turns(text, HEADINGS)])
    return _of_turns(_turns(text, NAMES)) if NAMES.match(text) and _awaits(text) else None


def _turns(text: str, marks: re.Pattern[str]) -> list[tuple[str, str]]:
    """The role and the text of each turn."""
    found = list(marks.finditer(text))
    ends = [*(mark.start() for mark in found[1:]), len(text)]
    said = (_END.sub("", text[mark.end() : end]).strip() for mark, end in zip(found, ends, strict=True))
    roles = (ROLE_OF[mark[mark.lastindex or 1].lower()] for mark in found)
    return list(zip(roles, said, strict=True))


def _awaits(text: str) -> bool:
    """Whether "User:" and the like, which also stand in books, mark a dialogue that awaits its answer.

    It ends with the user's turn or with a blank one of the assistant's. A question and a blank answer are an exam's
    labels; several are examples and the task.
    """
    names = [mark[1].lower() for mark in NAMES.finditer(text)]
    exam = {"q", "question", "a", "answer"}
    asked = sum(name in {"user", "human", "q", "question"} for name in names)
    if not asked or (exam & {*names} and not (exam >= {*names} and asked > 1)):
        return False
    role, said = _turns(text, NAMES)[-1]
    return len(names) > 1 and (role == USER or (role == ASSISTANT and not said))


def _of_turns(turns: Sequence[tuple[str, str]]) -> Opened | None:
    """The last user turn; other turns are material: those of the user, then the others, the latest first."""
    spoken = [(role, said) for role, said in turns if said.strip()]
    last = max((at for at, (role, _) in enumerate(spoken) if role == USER), default=None)
    if last is None:
        return None
    others = [turn for at, turn in enumerate(spoken) if at != last and turn[0] != FRAME][::-1]
    others.sort(key=lambda turn: turn[0] != USER)
    frame = tuple(said for role, said in spoken if role == FRAME)
    return Opened(spoken[last][1], tuple(said for _, said in others), frame)


def _text(text: str) -> str:
    """Valid Unicode: JSON may spell half a surrogate pair."""
    return text.strip().encode("utf-8", "replace").decode()
