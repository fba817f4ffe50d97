"""Resumable output file: records are appended to `FILE.partial`, which becomes FILE at the end.

`FILE.partial.json` holds the input and settings of the run. A record is one JSON line with its number from 1 under
`line`; its other fields are not known here.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from router.errors import UsageError
from router.files import atomic_write


class ResumableFile:
    """Context manager over the output; without an exception it ends with FILE, with one the partial file stays.

    `done` and `failed` count the records kept from an earlier run and those written since.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        force: bool = False,
        multiple_of: int = 1,
    ) -> None:
        """Open the partial file; of an earlier run's records it keeps the greatest number that is a `multiple_of`.

        Raises UsageError as `check_output` does, and where the partial file is of another input or settings.
        """
        check_output(path, resume=resume, force=force)
        self.path, self.partial, self.about = path, partial_of(path), path.with_name(path.name + ".partial.json")
        self.force = force
        self.done = self.failed = 0
        resume = resume and _holds_records(self.partial)
        if resume:
            _check_settings(self.partial, self.about, settings)
        self._file = _open_locked(self.partial)
        try:
            self._file.truncate(self._keep(multiple_of) if resume else 0)
            if not resume:
                atomic_write(self.about, json.dumps(settings, indent=1).encode())
        except BaseException:
            self._file.close()
            raise

    def _keep(self, multiple_of: int) -> int:
        """The bytes of the leading lines that are whole records in order, which are counted; a torn end is not kept."""
        kept = size = failed = 0
        with self.partial.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                record = _record(line)
                if record.get("line") != number:
                    break
                size += len(line)
                failed += "error" in record
                if number % multiple_of == 0:
                    kept, self.done, self.failed = size, number, failed
        return kept

    def write(self, line: bytes, *, failed: bool) -> None:
        """Append one record with its line end. It survives a kill of this process after the next `flush`."""
        self._file.write(line)
        self.done += 1
        self.failed += failed

    def flush(self) -> None:
        """Hand all written records to the operating system."""
        self._file.flush()

    def __enter__(self) -> ResumableFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with self._file:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
                _refuse_existing(self.path, self.force)  # it may have appeared meanwhile
                os.replace(self.partial, self.path)
                self.about.unlink(missing_ok=True)


def partial_of(path: Path) -> Path:
    """The path of an unfinished run's records."""
    return path.with_name(path.name + ".partial")


def check_output(path: Path, *, resume: bool, force: bool) -> None:
    """Raise UsageError where writing to `path` would lose data or cannot work.

    `force` overwrites FILE and, without `resume`, discards its partial file; `resume` continues the partial file.
    """
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise UsageError(f"cannot write --output {path}: {why}; name a file in an existing folder")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _not_writable(path, f"you may not write in the folder {path.parent}")
    _refuse_existing(path, force)
    if not resume and not force and _holds_records(partial_of(path)):
        raise UsageError(
            f"{partial_of(path)} exists: an earlier run was interrupted. Give --resume to continue it, or --force to "
            "start over and discard it"
        )


def _not_writable(path: Path, why: str | None) -> UsageError:
    return UsageError(f"cannot write --output {path}: {why}; name a file in a folder that you may write in")


def _refuse_existing(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise UsageError(f"--output {path} exists already; give --force to replace it, or name another file")


def _holds_records(partial: Path) -> bool:
    return partial.exists() and partial.stat().st_size > 0


def _open_locked(partial: Path) -> BinaryIO:
    """The partial file, locked so that one process appends to it; the lock ends with that process."""
    import fcntl

    try:
        file = partial.open("ab")
    except OSError as error:
        raise _not_writable(partial, error.strerror) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(file.fileno()), partial.stat()):  # finished between `open` and here
            raise FileNotFoundError(partial)
    except (BlockingIOError, FileNotFoundError) as error:
        file.close()
        raise UsageError(f"{partial} is being written by another run: wait for it, or name another --output") from error
    return file


def _check_settings(partial: Path, about: Path, settings: Mapping[str, Any]) -> None:
    try:
        before = json.loads(about.read_bytes())
        if not isinstance(before, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot resume {partial}: {about}, which says of which input it is, cannot be read ({error}); "
            "give --force instead of --resume to start over"
        ) from error
    now = json.loads(json.dumps(settings))
    keys = [key for key in [*now, *(before.keys() - now.keys())] if before.get(key) != now.get(key)]
    if keys:
        parts = [f"{key} was {json.dumps(before.get(key))}, now {json.dumps(now.get(key))}" for key in keys]
        raise UsageError(
            f"cannot resume {partial}, it is of another run: {'; '.join(parts)}. Repeat that run's input and settings, "
            "or give --force instead of --resume to start over"
        )


def _record(line: bytes) -> dict[str, Any]:
    """The record in a whole line; empty for any other line."""
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(line) if line.endswith(b"\n") else None
        if isinstance(record, dict):
            return record
    return {}
