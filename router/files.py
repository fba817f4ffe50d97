"""A file that appears whole or not at all: it is written under a name beside its own, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from uuid import uuid4


def write_whole(path: Path, content: bytes) -> None:
    """Write the file, in place of what was there. OSError where the disk refuses; nothing is left beside it then."""
    beside = _beside(path)
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path, *, keep_empty: bool = True) -> Iterator[TextIO]:
    """A text file to write to; leaving without an exception it takes its name, safe from a power cut.

    There is none where it has no line and `keep_empty` is False.
    """
    beside = _beside(path)
    try:
        with beside.open("w", encoding="utf-8") as lines:
            yield lines
            lines.flush()
            os.fsync(lines.fileno())
        if keep_empty or beside.stat().st_size:
            os.replace(beside, path)
        else:
            path.unlink(missing_ok=True)
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name that no other process takes."""
    return path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
