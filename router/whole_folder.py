"""A folder that appears whole or not at all: it is filled under a name beside its own, then renamed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill, hidden beside `target`; leaving without an exception it takes the place of `target`.

    Whether `target` may be replaced is for the caller to know. OSError where the disk refuses; what was there stays
    then.
    """
    target = target.resolve()
    partial = target.with_name(f".{target.name}.{uuid4().hex[:8]}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        _swap(target, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _swap(target: Path, partial: Path) -> None:
    """Put `partial` where `target` is; a reader finds the old folder, then for an instant none, then the new one."""
    retired = partial.with_suffix(".replaced")
    if target.exists():
        target.rename(retired)
    try:
        partial.rename(target)
    except OSError:
        if retired.exists():
            retired.rename(target)
        raise
    shutil.rmtree(retired, ignore_errors=True)
