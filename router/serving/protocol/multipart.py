"""The `model` field of a multipart form: found, and replaced while all other bytes stay. No input or output.

It refuses forms that parsers read differently: the field that is replaced must be the one that the upstream reads, or a
client could run any other model of the upstream.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from router.errors import BodyError

LONGEST_MODEL = 500  # bytes
MOST_PARTS = 200
_KIND = re.compile(r'multipart/form-data; *boundary=(?:"([^"\r\n]{1,70})"|([A-Za-z0-9\'()+_,./:=?-]{1,70}))', re.I)
_NAMED = re.compile(rb'content-disposition: *form-data; *name="([^"\\]*)"(; *filename="[^"\\]*")?', re.I)


@dataclass(frozen=True)
class FormModel:
    """The bytes of a form, and the position of the model in them."""

    raw: bytes
    start: int
    end: int

    @property
    def model(self) -> str:
        """The model that the client named."""
        return self.raw[self.start : self.end].decode("utf-8", "replace")

    def with_model(self, name: str) -> bytes:
        """The form with another model; all other bytes stay."""
        return self.raw[: self.start] + name.encode() + self.raw[self.end :]


def read_form(raw: bytes, content_type: str) -> FormModel:
    """The form in a body of this content type. Raises BodyError unless exactly one plain field is the model.

    >>> form = b'--b\\r\\nContent-Disposition: form-data; name="model"\\r\\n\\r\\nwhisper\\r\\n--b--\\r\\n'
    >>> read_form(form, "multipart/form-data; boundary=b").model
    'whisper'
    """
    kind = _KIND.fullmatch(content_type.strip())
    if kind is None:
        raise BodyError("the content type of a form must be multipart/form-data; boundary=..., and nothing else")
    mark = b"\r\n--" + (kind[1] or kind[2]).encode("ascii", "replace")
    before, *parts = (b"\r\n" + raw).split(mark, MOST_PARTS + 1)
    last = parts.pop() if parts else b""
    if before or not parts or last.strip(b"\r\n") != b"--":
        raise BodyError(f"the form must open and end with its boundary and have 1 to {MOST_PARTS} parts")
    found: list[FormModel] = []
    at = len(mark) - 2  # behind the first boundary
    for part in parts:
        head, gap, content = part.partition(b"\r\n\r\n")
        if (name := _name(head, bool(gap))).lower() == b"model":
            if name != b"model":
                raise BodyError("the form's field model must be written in lower case: some upstreams read any case")
            start = at + len(head) + len(gap)
            found.append(FormModel(raw, start, start + len(content)))
        at += len(part) + len(mark)
    if len(found) != 1 or found[0].end - found[0].start > LONGEST_MODEL:
        raise BodyError(f"the form must have one field named model, of at most {LONGEST_MODEL} bytes")
    return found[0]


def _name(head: bytes, ended: bool) -> bytes:
    """The name in the headers of a part. Raises BodyError for headers that are ambiguous."""
    first, *lines = head.split(b"\r\n")
    named = [line for line in lines if line.lower().startswith(b"content-disposition")]
    plain = not first and all(b"\r" not in line and b"\n" not in line and line[:1] not in b" \t" for line in lines)
    match = _NAMED.fullmatch(named[0]) if ended and plain and len(named) == 1 else None
    if match is None or (match[1].lower() == b"model" and match[2]):
        raise BodyError('a part of the form must be named by one line: Content-Disposition: form-data; name="..."')
    return match[1]
