"""A text file that is written line by line and takes its name when it is complete: nobody finds a part of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def whole_file(path: Path, *, keep_empty: bool = True) -> Iterator[TextIO]:
    """A file that takes its name when it is complete; there is none where it has no line and `keep_empty` is False."""
    beside = path.with_name(path.name + ".new")
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
