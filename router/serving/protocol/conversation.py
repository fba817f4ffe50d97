"""Conversation in a chat or responses request: its turns, the text to route on, and its demands on the model.

It reads every legal shape of OpenAI's `messages` and `input`, and takes the text of unknown shapes. It knows neither
models nor the encoder, except how many characters of a text's beginning the encoder reads. No input or output.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from router.errors import BodyError
from router.options import CHARS_PER_TOKEN

IMAGE_TOKENS = 1000  # a rough count; providers count by the size of a picture
MAX_TEXT_CHARS = 400_000  # of the text to route on; the middle of a longer one is left out
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MODALITY_OF = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "video_url": "video",
    "input_video": "video",
}


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

    def query(self, head_chars: int) -> str:
        """The text to route on: the conversation, with the parts that matter where an encoder reads them.

        An encoder reads about `head_chars` of the beginning of a long text, and less of its end. A single user turn is
        the query, as in training. Of a longer conversation the last user turn comes first, shortened to two thirds of
        the head, then the system prompt and the first user turn, shortened. The rest follows in order, so that the
        text ends with the latest turns and has the right length, from which the cost is predicted. A conversation
        without text becomes a line that says so, since an empty query has no route.
        """
        # JSON may contain half a surrogate pair, which is no text.
        readable = (replace(turn, text=turn.text.encode("utf-8", "replace").decode()) for turn in self.turns)
        spoken = [turn for turn in readable if turn.text.strip()]
        if not spoken:
            return f"({', '.join(sorted(self.modalities)) or 'empty'} request)"
        last = next((turn for turn in reversed(spoken) if turn.role == "user"), spoken[-1])
        if len(spoken) == 1:
            return _clip(last.text, MAX_TEXT_CHARS)
        first = next((turn for turn in spoken if turn.role == "user" and turn is not last), None)
        system = next((turn for turn in spoken if turn.role in ("system", "developer")), None)
        head = [_clip(last.text, head_chars * 2 // 3)]
        room = max(head_chars - len(head[0]), head_chars // 3)
        for turn, share in ((system, 2), (first, 1)):
            if turn is not None and turn is not last:
                head.append(_clip(turn.text, room // share))
                room -= len(head[-1])
        kept = "\n".join(head)
        rest = "\n".join(turn.text for turn in spoken)
        rest = rest[min(len(kept), max(len(rest) - head_chars, 0)) :]  # the whole is as long as the conversation
        return f"{kept}\n{_clip(rest, MAX_TEXT_CHARS - len(kept))}" if rest else kept


def read_chat(body: Mapping[str, Any]) -> Conversation:
    """The conversation in the body of a chat completion. BodyError if its messages cannot be read."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BodyError(f"messages must be a list of at least one message, got {_kind(messages)}")
    turns = [turn for number, each in enumerate(messages) for turn in _message(f"messages[{number}]", each)]
    wanted = body.get("response_format")
    schema = wanted.get("json_schema") if isinstance(wanted, Mapping) else None
    limit = body.get("max_completion_tokens")
    return _conversation(
        body,
        turns,
        tools=bool(_list("tools", body) or _list("functions", body)),
        schema=schema if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema" else None,
        limit=("max_completion_tokens", limit) if limit is not None else ("max_tokens", body.get("max_tokens")),
        extra=(body.get("tools"), body.get("functions"), schema),
    )


def read_responses(body: Mapping[str, Any]) -> Conversation:
    """The conversation in the body of a responses request. BodyError if its input cannot be read."""
    given = body.get("input")
    turns: list[Turn] = []
    instructions = body.get("instructions")
    if instructions is not None:
        turns += _turns("instructions", "system", instructions)
    if isinstance(given, str):
        turns.append(Turn("user", given))
    elif isinstance(given, list):
        turns += [turn for number, each in enumerate(given) for turn in _item(f"input[{number}]", each)]
    elif given is not None or not (body.get("prompt") or body.get("previous_response_id") or body.get("conversation")):
        raise BodyError(f"input must be text or a list of items, got {_kind(given)}")
    text = body.get("text")
    wanted = text.get("format") if isinstance(text, Mapping) else None
    schema = wanted if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema" else None
    before = body.get("previous_response_id")
    if not isinstance(before, str | None):
        raise BodyError(f"previous_response_id must be text, got {_kind(before)}")
    return _conversation(
        body,
        turns,
        tools=bool(_list("tools", body)),
        schema=schema,
        limit=("max_output_tokens", body.get("max_output_tokens")),
        extra=(body.get("tools"), schema),
        continues=before,
    )


READERS: Mapping[str, Callable[[Mapping[str, Any]], Conversation]] = {
    "/v1/chat/completions": read_chat,
    "/v1/responses": read_responses,
}


def _conversation(
    body: Mapping[str, Any],
    turns: Sequence[Turn],
    *,
    tools: bool,
    schema: object,
    limit: tuple[str, object],
    extra: Sequence[object],
    continues: str | None = None,
) -> Conversation:
    stream = body.get("stream")
    if not isinstance(stream, bool | None):
        raise BodyError(f"stream must be true or false, got {_kind(stream)}")
    name, tokens = limit
    if tokens is not None and (isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0):
        raise BodyError(f"{name} must be a whole number of tokens, got {_kind(tokens)}")
    return Conversation(
        tuple(turns),
        tools,
        schema is not None,
        frozenset(each for turn in turns for each in turn.modalities),
        tokens,
        bool(stream),
        continues,
        sum(len(json.dumps(each)) for each in extra if each),
    )


def _message(where: str, message: object) -> list[Turn]:
    """The turns in a chat message: its content and its tool calls."""
    if not isinstance(message, Mapping):
        raise BodyError(f"{where} must be an object with role and content, got {_kind(message)}")
    role = message.get("role")
    if role not in ROLES:
        raise BodyError(f"{where}.role must be one of {', '.join(ROLES)}, got {_kind(role)}")
    turns = _turns(f"{where}.content", role, message.get("content"))
    if isinstance(message.get("refusal"), str):
        turns.append(Turn(role, message["refusal"]))
    calls = [*_listed(message.get("tool_calls")), {"function": message.get("function_call")}]
    called = [text for call in calls if (text := _call(call))]
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
        raise BodyError(f"{where} must be an item, which is an object, got {_kind(item)}")
    role, kind = item.get("role"), item.get("type", "message")
    if role is not None or kind == "message":
        if role not in ROLES:
            raise BodyError(f"{where}.role must be one of {', '.join(ROLES)}, got {_kind(role)}")
        return _turns(f"{where}.content", role, item.get("content"))
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
        raise BodyError(f"{where} must be text or a list of parts, got {_kind(content)}")
    texts, modalities = [], []
    for number, part in enumerate(content):
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, Mapping):
            raise BodyError(f"{where}[{number}] must be a part, which is an object, got {_kind(part)}")
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


def _list(name: str, body: Mapping[str, Any]) -> list[Any]:
    value = body.get(name)
    if not isinstance(value, list | None):
        raise BodyError(f"{name} must be a list, got {_kind(value)}")
    return value or []


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


def _kind(value: object) -> str:
    """A wrong value for an error message, shortened, since it may be long or private."""
    names = {dict: "an object", list: "a list", bool: str(value).lower(), type(None): "nothing"}
    if type(value) in names:
        return names[type(value)] if value != [] else "an empty list"
    return f"{str(value)[:40]!r}" if isinstance(value, str) else f"{value}"[:40]
