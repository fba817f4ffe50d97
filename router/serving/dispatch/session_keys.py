"""Session keys: digests that identify the conversation of a request. No input or output.

A client may name its conversation. Otherwise the beginning of the conversation identifies it: a client sends the whole
conversation with every turn, so turn n+1 begins with all that turn n sent. A client that shortens or changes old turns
(a clock in the system prompt) begins a new session each time, and misses the provider's prompt cache as well.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

HEADER = "x-session-id"
LONGEST_NAME = 512  # characters of a session's name; a longer one is ignored
DIGEST_BYTES = 16
TEXT_PARTS = ("text", "input_text")
_WRITER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))  # shared: `json.dumps` would make one each time
CACHE_MARK = "cache_control"  # moves to the last message with every turn; not a part of the content


def named_session(headers: Mapping[str, str], body: Mapping[str, Any], owner: str, secret: bytes) -> str | None:
    """The digest of the session that the request names by header or stored conversation; None if it names none.

    A `user` names no session: applications send the same one with every request, and a user has many conversations.
    `headers` has lower-case names. `owner` is the id of the client key: two clients never share a session. `secret`
    keys the digest.
    """
    conversation = body.get("conversation")  # of the responses API: an id or {"id": ...}
    if isinstance(conversation, Mapping):
        conversation = conversation.get("id")
    for kind, name in (("header", headers.get(HEADER)), ("conversation", conversation)):
        if _is_name(name):
            return _digest(secret, json.dumps([kind, owner, name]).encode())
    return None


def prefix_digests(body: Mapping[str, Any], owner: str, secret: bytes) -> list[str]:
    """One digest for each beginning of the request's conversation, the whole last; empty without messages.

    Two requests of one owner and `user` share the k-th digest if and only if their first k messages are equal. Raises
    RecursionError for a body that is nested too deeply.
    """
    digests: list[str] = []
    # The id of a response is a secret by itself, and `response_digest` does not know the owner.
    last: Any = "" if _continued(body) else [owner, user] if _is_name(user := body.get("user")) else owner
    for message in _messages(body):
        last = _digest(secret, _WRITER.encode([last, message]).encode())
        digests.append(last)
    return digests


def response_digest(response_id: str, secret: bytes) -> str:
    """The first of the `prefix_digests` of a request that continues this response."""
    return prefix_digests({"previous_response_id": response_id, "input": []}, "", secret)[0]


def kept_upstream(body: Mapping[str, Any]) -> bool:
    """Whether the provider stores the conversation so far: only the model that answered before can continue it."""
    return body.get("previous_response_id") is not None or body.get("conversation") is not None


def _messages(body: Mapping[str, Any]) -> Iterator[Any]:
    """The messages of a conversation in order, from either kind of request."""
    if isinstance(body.get("messages"), list):
        yield from map(_plain, body["messages"])
        return
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list):
        return
    if _continued(body):
        yield {"previous_response_id": body["previous_response_id"]}
    elif body.get("instructions"):
        yield {"role": "system", "content": body["instructions"]}
    yield from map(_plain, items)


def _continued(body: Mapping[str, Any]) -> bool:
    return isinstance(body.get("previous_response_id"), str) and not isinstance(body.get("messages"), list)


def _plain(message: Any) -> Any:
    """The message in one canonical form: without cache marks, a single part of text as that text."""
    if not isinstance(message, dict):
        return message
    content = message.get("content")
    if isinstance(content, list):
        parts = [_unmarked(part) for part in content]
        alone = parts[0] if len(parts) == 1 and isinstance(parts[0], dict) else {}
        lone_text = alone.keys() == {"type", "text"} and alone["type"] in TEXT_PARTS
        message = message | {"content": alone["text"] if lone_text else parts}
    return _unmarked(message)


def _unmarked(part: Any) -> Any:
    return {k: v for k, v in part.items() if k != CACHE_MARK} if isinstance(part, dict) and CACHE_MARK in part else part


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME


def _digest(secret: bytes, content: bytes) -> str:
    return hashlib.blake2b(content, key=secret, digest_size=DIGEST_BYTES).hexdigest()
