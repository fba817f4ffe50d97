"""Log formatters: one JSON object a line, or plain text for people; both print the `fields` of a record."""

import json
import logging
import re
from datetime import UTC, datetime

_PLAIN = re.compile(r"[!#-~]+")


class PlainFormatter(logging.Formatter):
    """Plain text for people: `router: request status=200`.

    Values with other than plain characters are quoted and further lines are indented, so that no client can forge a
    line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        fields = (f"{name}={_quoted(str(value))}" for name, value in getattr(record, "fields", {}).items())
        text = " ".join(["router:", record.getMessage(), *fields])
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return "\n    ".join("".join(map(_shown, line)) for line in text.splitlines())


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value)


def _shown(sign: str) -> str:
    return sign if sign.isprintable() else ascii(sign)[1:-1]


class JsonFormatter(logging.Formatter):
    """JSON lines: `extra={"fields": {"status": 200}}` gives `{..., "message": "request", "status": 200}`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        raw = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            raw["traceback"] = self.formatException(record.exc_info)
        return json.dumps(raw, default=str)
