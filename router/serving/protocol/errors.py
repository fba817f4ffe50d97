"""Error codes of the gateway: a table of code, HTTP status and OpenAI's error type, and the JSON shape of an error.

A message never contains a key or the address of an upstream.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any

from router.errors import RouterError

_CLIENT, _SERVER = "invalid_request_error", "server_error"

# code: (HTTP status, type of the OpenAI protocol)
FAILURES = {
    "invalid_body": (400, _CLIENT),
    "invalid_request": (400, _CLIENT),
    "no_candidate": (400, _CLIENT),  # no model of the pool meets the demands of the request
    "not_routed": (400, _CLIENT),  # `auto` on a path that is not routed, or without upstreams
    "invalid_api_key": (401, "authentication_error"),
    "forbidden_host": (403, "permission_error"),
    "forbidden_origin": (403, "permission_error"),
    "not_found": (404, _CLIENT),
    "model_not_found": (404, _CLIENT),
    "method_not_allowed": (405, _CLIENT),
    "body_timeout": (408, _CLIENT),
    "headers_timeout": (408, _CLIENT),
    "body_too_large": (413, _CLIENT),
    "unsupported_media_type": (415, _CLIENT),
    "headers_too_large": (431, _CLIENT),
    "rate_limit_exceeded": (429, "rate_limit_error"),
    "upstream_rate_limited": (429, "rate_limit_error"),  # every model that could answer is rate limited
    "internal_error": (500, _SERVER),
    "upstream_failed": (502, _SERVER),
    "not_ready": (503, _SERVER),
    "shutting_down": (503, _SERVER),
    "queue_full": (503, _SERVER),
    "log_full": (503, _SERVER),
    "upstream_timeout": (504, _SERVER),
    "decision_timeout": (504, _SERVER),  # no decision before the deadline of the request
}


@dataclass
class RequestError(RouterError):
    """An error of the gateway that ends a request."""

    code: str  # a key of FAILURES
    message: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return FAILURES[self.code][0]

    @property
    def body(self) -> bytes:
        """The error as JSON in OpenAI's shape."""
        return json.dumps(error_object(self.code, self.message)).encode()

    def __str__(self) -> str:
        return self.message


def error_object(code: str, message: str) -> dict[str, Any]:
    """`{"error": ...}` in OpenAI's shape.

    >>> error_object("not_found", "no such path")["error"]["type"]
    'invalid_request_error'
    """
    return {"error": {"message": message, "type": FAILURES[code][1], "param": None, "code": code}}


def retry_after(seconds: float) -> dict[str, str]:
    """The Retry-After header, in whole seconds of at least one."""
    return {"retry-after": str(max(1, math.ceil(seconds)))}
