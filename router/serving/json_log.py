"""Log records as one JSON object a line: time, level, message, and the fields that the record's writer gave it."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class PlainFormatter(logging.Formatter):
    """The same for people: `router: request status=200`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = (f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        line = " ".join(["router:", record.getMessage(), *fields])
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """A record with `extra={"fields": {"status": 200}}` becomes `{..., "message": "request", "status": 200}`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        raw = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            raw["traceback"] = self.formatException(record.exc_info)
        return json.dumps(raw, default=str)
