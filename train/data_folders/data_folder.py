"""Atomic data folders (docs/data.md): one that appears whole or not at all, what it must not replace, prices."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.errors import UsageError
from router.files import atomic_folder

PRICES = ["input_usd_per_mtok", "output_usd_per_mtok"]  # columns of models.csv


@contextmanager
def whole_data_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill, see `atomic_folder`; an OSError, also of the block, becomes a UsageError with `target`."""
    try:
        with atomic_folder(target) as fresh:
            yield fresh
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error}; name a folder that can be written") from error


def holds_other_files(target: Path, marker: str) -> bool:
    """Whether `target` exists, is no empty folder, and lacks the file `marker` of the folders that may be replaced."""
    return target.exists() and not (target / marker).is_file() and not (target.is_dir() and not any(target.iterdir()))
