"""A folder that appears whole or not at all: it is filled beside its place, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.errors import UsageError


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill. Leaving without an exception it becomes `target`, in place of what was there.

    Whether `target` may be replaced is for the caller to know. UsageError where it cannot be written.
    """
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name}-") as beside:
            fresh, old = Path(beside) / "new", Path(beside) / "old"
            fresh.mkdir()
            yield fresh
            if target.exists():
                os.replace(target, old)
            os.replace(fresh, target)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error}; name a folder that can be written") from error
