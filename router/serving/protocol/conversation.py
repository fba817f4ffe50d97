"""Conversation in a chat or responses request: its turns, the text to route on, and its demands on the model.

It reads every legal shape of OpenAI's `messages` and `input`, and takes the text of unknown shapes. It knows neither
models nor the encoder. No input or output.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.encoding.wrappers import transcript
from router.errors import BodyError
from router.options import CHARS_PER_TOKEN
from router.serving.protocol.bodies import ROLES, ChatFields, ResponseFields, brief

IMAGE_TOKENS = 1000  # a rough count; providers count by the size of a picture
MAX_TEXT_CHARS = 400_000  # of the text to route on; the middles of longer turns are left out
MODALITY_OF = {"image_url": "image", "input_image": "image", "image": "image", "input_audio": "audio",
               "video_url": "video", "input_video": "video"}  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One message, tool call or tool result."""

    role: str
    text: str
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conversation:
    """The turns of a request in order, and what it demands of a model."""

    turns: tuple[Turn, ...]
    tools: bool = False
    json_schema: bool = False
    modalities: frozenset[str] = frozenset()  # besides text
    max_output_tokens: int | None = None
    stream: bool = False
    continues: str | None = None  # id of the response, stored by the provider, that it continues
    extra_chars: int = field(default=0, compare=False)  # of tools and schemas, which are not part of the query

    @property
    def prompt_tokens(self) -> int:
        """Approximate tokens of the prompt."""
        chars = sum(len(turn.text) for turn in self.turns) + self.extra_chars
        pictures = sum(len(turn.modalities) for turn in self.turns)
        return chars // CHARS_PER_TOKEN + 4 * len(self.turns) + pictures * IMAGE_TOKENS

    @property
    def context_tokens(self) -> int:
        """Approximate tokens of prompt and answer together."""
        return self.prompt_tokens + (self.max_output_tokens or 0)

    def query(self) -> str:
        """The text to route on: a single turn as it is, as in training; otherwise all turns, marked by their roles.

        The encoder takes the last user turn as the task and the other turns as material (`router.encoding.wrappers`).
        The text has about the length of the conversation, from which the cost is predicted. A conversation without
        text becomes a line that says so, since an empty query has no route.
        """
        # JSON may contain half a surrogate pair, which is no text.
        turns = [(turn.role, turn.text.encode("utf-8", "replace").decode()) for turn in self.turns if turn.text.strip()]
        if not turns:
            return f"({', '.join(sorted(self.modalities)) or 'empty'} request)"
        if len(turns) == 1:
            return _clip(turns[0][1], MAX_TEXT_CHARS)
        last = max((at for at, (role, _) in enumerate(turns) if role == "user"), default=len(turns) - 1)
        task = transcript([("user", _clip(turns[last][1], MAX_TEXT_CHARS // 2))])
        before, after = transcript(turns[:last]), transcript(turns[last + 1 :])
        room = MAX_TEXT_CHARS - len(task)
        before = _clip(before, max(room - len(after), room // 2))
        after = _clip(after, room - len(before))
        return "\n".join(part for part in (before, task, after) if part)


def read_chat(body: Mapping[str, Any]) -> Conversation:
    """The conversation in the body of a chat completion. BodyError if its messages cannot be read."""
    asked = ChatFields.read(body)
    turns = [turn for number, each in enumerate(body["messages"]) for turn in _message(f"messages[{number}]", each)]
    wanted = asked.response_format if isinstance(asked.response_format, Mapping) else {}
    return _conversation(
        turns,
        asked,
        (asked.tools, asked.functions, wanted.get("json_schema")),
        tools=bool(asked.tools or asked.functions),
        json_schema=wanted.get("type") == "json_schema",
        max_output_tokens=asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens,
    )


def read_responses(body: Mapping[str, Any]) -> Conversation:
    """The conversation in the body of a responses request. BodyError if its input cannot be read."""
    asked = ResponseFields.read(body)
    if asked.input is None and not (body.get("prompt") or asked.previous_response_id or body.get("conversation")):
        raise BodyError("input must be text or a list of items, got nothing")
    turns = _turns("instructions", "system", body.get("instructions"))
    items = [asked.input] if isinstance(asked.input, str) else body.get("input") or []
    turns += [turn for number, each in enumerate(items) for turn in _item(f"input[{number}]", each)]
    wanted = asked.text.get("format") if isinstance(asked.text, Mapping) else None
    schema = wanted if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema" else None
    return _conversation(
        turns,
        asked,
        (asked.tools, schema),
        tools=bool(asked.tools),
        json_schema=schema is not None,
        max_output_tokens=asked.max_output_tokens,
        continues=asked.previous_response_id,
    )


READERS: Mapping[str, Callable[[Mapping[str, Any]], Conversation]] = {
    "/v1/chat/completions": read_chat,
    "/v1/responses": read_responses,
}


def _conversation(
    turns: Sequence[Turn], asked: ChatFields | ResponseFields, extra: Sequence[object], **demands: Any
) -> Conversation:
    modalities = frozenset(each for turn in turns for each in turn.modalities)
    chars = sum(len(json.dumps(each)) for each in extra if each)
    return Conversation(tuple(turns), modalities=modalities, stream=bool(asked.stream), extra_chars=chars, **demands)


def _role(where: str, message: Mapping[str, Any]) -> str:
    if (role := message.get("role")) in ROLES:
        return role
    raise BodyError(f"{where}.role must be one of {', '.join(ROLES)}, got {brief(role)}")


def _message(where: str, message: object) -> list[Turn]:
    """The turns in a chat message: its content and its tool calls."""
    if not isinstance(message, Mapping):
        raise BodyError(f"{where} must be an object with role and content, got {brief(message)}")
    role = _role(where, message)
    turns = _turns(f"{where}.content", role, message.get("content"))
    if isinstance(message.get("refusal"), str):
        turns.append(Turn(role, message["refusal"]))
    calls = [*_listed(message.get("tool_calls")), message.get("function_call")]
    called = [text for call in calls if call and (text := _call(call))]
    return [*turns, *(Turn(role, text) for text in called)] or [Turn(role, "")]


def _call(call: object) -> str:
    """A tool call as text: name and arguments."""
    if not isinstance(call, Mapping):
        return ""
    inner = call.get("function") or call.get("custom") or call
    if not isinstance(inner, Mapping):
        return ""
    parts = [inner.get("name"), inner.get("arguments") or inner.get("input")]
    return " ".join(part for part in parts if isinstance(part, str) and part)


def _item(where: str, item: object) -> list[Turn]:
    """The turns in an input item of the responses protocol; unknown kinds are allowed."""
    if isinstance(item, str):
        return [Turn("user", item)]
    if not isinstance(item, Mapping):
        raise BodyError(f"{where} must be an item, which is an object, got {brief(item)}")
    kind = item.get("type", "message")
    if item.get("role") is not None or kind == "message":
        return _turns(f"{where}.content", _role(where, item), item.get("content"))
    if isinstance(kind, str) and kind.endswith("_output"):
        output = item.get("output")
        return _turns(f"{where}.output", "tool", output if isinstance(output, str | list) else None)
    if isinstance(kind, str) and kind in MODALITY_OF:
        return [Turn("user", "", (MODALITY_OF[kind],))]
    return [Turn("assistant", _call(item))]  # tool calls; reasoning, references and the like give no text


def _turns(where: str, role: str, content: object) -> list[Turn]:
    """The turn in the content of a message, which may be missing, a text, or a list of parts."""
    if content is None:
        return []
    if isinstance(content, str):
        return [Turn(role, content)]
    if isinstance(content, Mapping):  # some clients send one part without its list
        content = [content]
    if not isinstance(content, list):
        raise BodyError(f"{where} must be text or a list of parts, got {brief(content)}")
    texts, modalities = [], []
    for number, part in enumerate(content):
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, Mapping):
            raise BodyError(f"{where}[{number}] must be a part, which is an object, got {brief(part)}")
        texts += _texts(part)
        kind = part.get("type")
        if isinstance(kind, str) and kind in MODALITY_OF:
            modalities.append(MODALITY_OF[kind])
    return [Turn(role, "\n".join(texts), tuple(modalities))]


def _texts(part: Mapping[str, Any]) -> Iterator[str]:
    for key in ("text", "refusal", "transcript"):
        if isinstance(part.get(key), str):
            yield part[key]
    if isinstance(part.get("content"), str | list):  # tool results inside a part
        yield from (turn.text for turn in _turns("content", "tool", part["content"]))


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _clip(text: str, room: int) -> str:
    """`text`, or as much of its beginning and end as fits into `room` characters.

    >>> _clip("abcdefghij", 7), _clip("abc", 7)
    ('abc\\n…\\nj', 'abc')
    """
    if len(text) <= room:
        return text
    end = max((room - 3) // 3, 0)
    start = max(room - 3 - end, 0)
    return f"{text[:start]}\n…\n{text[len(text) - end :]}"
