"""One question to one endpoint and its answer: the request's body, what names it, and what it can cost at most.

Pure: no network, no files, no clock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from router.llm.endpoint import Endpoint
from router.options import CHARS_PER_TOKEN

TOKENS_AROUND = 32  # of a message and of a request: role, separators, what a chat template adds


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str  # system, user or assistant
    content: str


@dataclass(frozen=True)
class Question:
    """A conversation that waits for its next turn."""

    messages: tuple[Message, ...]
    most_tokens: int  # of the answer
    temperature: float = 0.0
    schema: Mapping[str, Any] | None = None  # JSON schema that the answer should have, where the endpoint can hold it
    number: int = 0  # tells apart questions that are asked several times on purpose (trials)

    def key(self, endpoint: Endpoint) -> str:
        """The sha256 that names this question to this endpoint; prices, keys and limits do not matter."""
        asked = {"base_url": endpoint.base_url.rstrip("/"), "model": endpoint.model, **endpoint.parameters}
        return hashlib.sha256(json.dumps([asked, asdict(self)], sort_keys=True).encode()).hexdigest()

    def body(self, endpoint: Endpoint) -> dict[str, Any]:
        """The request's JSON."""
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
        return body | dict(endpoint.parameters)

    @property
    def most_input_tokens(self) -> int:
        """No fewer tokens than any byte-level tokenizer makes of it: a token is at least one byte."""
        size = sum(len(message.content.encode("utf-8", "replace")) + TOKENS_AROUND for message in self.messages)
        schema = len(json.dumps(self.schema)) if self.schema else 0
        return size + schema + TOKENS_AROUND

    @property
    def usual_input_tokens(self) -> float:
        """Characters / 4, as everywhere in this project."""
        return sum(len(message.content) for message in self.messages) / CHARS_PER_TOKEN

    def most_usd(self, endpoint: Endpoint) -> float:
        """What the answer costs at most, if the endpoint keeps to `most_tokens`."""
        return endpoint.cost_usd(self.most_input_tokens, self.most_tokens)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    text: str
    input_tokens: float
    output_tokens: float
    counted: bool  # by the endpoint; False: estimated as characters / 4
    usd: float
    latency_s: float  # of the request that was answered, without waits and retries
    finish: str  # the endpoint's reason to stop: stop, length, ...


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
