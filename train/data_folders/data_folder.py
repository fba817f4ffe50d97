"""A data folder (docs/data.md) that appears whole or not at all, for what writes one in one go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.errors import UsageError
from router.files import atomic_folder


@contextmanager
def whole_data_folder(target: Path) -> Iterator[Path]:
    """See `atomic_folder`; an OSError, also of the block, becomes a UsageError that names `target`."""
    try:
        with atomic_folder(target) as fresh:
            yield fresh
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error}; name a folder that can be written") from error
