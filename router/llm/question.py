"""Chat question and its answer: body of the request, cache key, largest possible cost, and the parsed completion.

Pure: no network, no files, no clock. The names of Question's fields are part of the cache key.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from router.llm.endpoint import Endpoint
from router.options import CHARS_PER_TOKEN

TOKENS_AROUND = 32  # around a message and around a request: role, separators, what a chat template adds


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str  # system, user or assistant
    content: str


@dataclass(frozen=True)
class Question:
    """Conversation whose next turn is asked for."""

    messages: tuple[Message, ...]
    most_tokens: int  # of the answer
    temperature: float = 0.0
    schema: Mapping[str, Any] | None = None  # JSON schema of the answer, for endpoints that support it
    number: int = 0  # distinguishes equal questions that are asked several times on purpose (trials)

    def key(self, endpoint: Endpoint) -> str:
        """The sha256 of this question to this endpoint; prices, keys and limits do not matter."""
        target = {"base_url": endpoint.base_url.rstrip("/"), "model": endpoint.model}
        return hashlib.sha256(json.dumps([target, asdict(self)], sort_keys=True).encode()).hexdigest()

    def body(self, endpoint: Endpoint) -> dict[str, Any]:
        """JSON of the request."""
        body: dict[str, Any] = {
            "model": endpoint.model,
            "messages": [asdict(message) for message in self.messages],
            "max_tokens": self.most_tokens,
            "temperature": self.temperature,
        }
        if self.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": self.schema},
            }
        return body

    @property
    def most_input_tokens(self) -> int:
        """Upper bound of the input tokens for any byte-level tokenizer: a token is at least one byte."""
        size = sum(len(message.content.encode("utf-8", "replace")) + TOKENS_AROUND for message in self.messages)
        schema = len(json.dumps(self.schema)) if self.schema else 0
        return size + schema + TOKENS_AROUND

    @property
    def usual_input_tokens(self) -> float:
        """Estimate of the input tokens: characters / 4, as everywhere in this project."""
        return sum(len(message.content) for message in self.messages) / CHARS_PER_TOKEN

    def most_usd(self, endpoint: Endpoint) -> float:
        """Largest possible cost of the answer, if the endpoint keeps to `most_tokens`."""
        return endpoint.cost_usd(self.most_input_tokens, self.most_tokens)


@dataclass(frozen=True)
class Answer:
    """Answer of an endpoint, with its tokens, cost and latency."""

    text: str
    input_tokens: float
    output_tokens: float
    counted: bool  # whether the endpoint counted the tokens; otherwise they are characters / 4
    usd: float
    latency_s: float  # of the request that brought it, without waits and retries
    finish: str  # finish reason: stop, length, ...


def read_completion(raw: object, question: Question, endpoint: Endpoint, latency_s: float) -> Answer:
    """The answer in a chat completion's JSON; ValueError where there is none."""
    try:
        choice = raw["choices"][0]  # type: ignore[index]
        text = choice["message"]["content"]
        text = "" if text is None else text
        if not isinstance(text, str):
            raise TypeError(f"its content is a {type(text).__name__}")
        text = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"no chat completion ({type(error).__name__}: {error})") from error
    usage = raw.get("usage") if isinstance(raw, dict) else None
    counts = [_count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
    counted = None not in counts
    tokens_in = question.usual_input_tokens if counts[0] is None else counts[0]
    tokens_out = len(text) / CHARS_PER_TOKEN if counts[1] is None else counts[1]
    cost, finish = endpoint.cost_usd(tokens_in, tokens_out), str(choice.get("finish_reason") or "")
    return Answer(text, tokens_in, tokens_out, counted, cost, latency_s, finish)


def _count(usage: object, name: str) -> float | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if usable else None  # type: ignore[arg-type]
