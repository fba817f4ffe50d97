"""Atomic and private file writes: a temporary file beside the target, then a rename.

A reader finds the old content or the new content, never a part of one. Knows nothing of what the files hold.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

from router.errors import CheckpointError, UsageError

SECRET_BYTES = 32


def settings_folder() -> Path:
    """The folder of this user's settings, which need not exist: inferencedynamics in XDG_CONFIG_HOME or ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "inferencedynamics"


def read_json(file: Path) -> Any:
    """The content of a checkpoint's JSON file. Raises CheckpointError where the file is missing or broken."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read as JSON: {error}") from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A hidden sibling of `path` to write to; it takes the place of `path` when the block ends without an exception.

    Raises OSError where the disk refuses. The sibling is removed after any error.
    """
    sibling = _sibling(path)
    try:
        yield sibling
        os.replace(sibling, path)
    finally:
        sibling.unlink(missing_ok=True)


def atomic_write(path: Path, content: bytes) -> None:
    """Write the file in place of the one that was there. Raises OSError where the disk refuses."""
    with atomic_path(path) as sibling:
        sibling.write_bytes(content)


@contextmanager
def atomic_text(path: Path, *, keep_empty: bool = True) -> Iterator[TextIO]:
    """A text file to write to; it takes its name when the block ends without an exception, safe from a power cut.

    With `keep_empty` False, a file without a line is removed, and so is the file that was there before.
    """
    with atomic_path(path) as sibling:
        with sibling.open("w", encoding="utf-8") as lines:
            yield lines
            lines.flush()
            os.fsync(lines.fileno())
        empty = not sibling.stat().st_size
    if empty and not keep_empty:
        path.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill; it takes the place of `target` when the block ends without an exception.

    The caller checks whether `target` may be replaced. Raises OSError where the disk refuses; the old one then stays.
    """
    target = target.resolve()
    sibling = _sibling(target)
    try:
        sibling.mkdir(parents=True)
        yield sibling
        _swap(target, sibling)
    finally:
        shutil.rmtree(sibling, ignore_errors=True)


def _sibling(path: Path) -> Path:
    """A hidden name beside `path` that no other process takes."""
    return path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")


def _swap(target: Path, sibling: Path) -> None:
    """Put `sibling` where `target` is; a reader finds the old folder, for an instant no folder, then the new one."""
    retired = sibling.with_suffix(".replaced")
    if target.exists():
        target.rename(retired)
    try:
        sibling.rename(target)
    except OSError:
        if retired.exists():
            retired.rename(target)
        raise
    shutil.rmtree(retired, ignore_errors=True)


def private_write(path: Path, content: bytes) -> None:
    """Write the file with mode 0600, safe from a power cut: no other user reads it, at no time."""
    with (
        atomic_path(path) as sibling,
        open(sibling, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file,
    ):
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def locked_folder(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """A lock that one process at a time holds; it ends with the process and leaves no file behind.

    With `wait` False, BlockingIOError is raised where another process holds it.
    """
    import fcntl  # not on Windows

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def local_secret(path: Path) -> bytes:
    """The 32 random bytes that `path` holds as hexadecimal digits; the file is made where there is none.

    Raises UsageError where other users may use the file, or where it holds something different.
    """
    with locked_folder(path.parent):
        if not path.exists():
            private_write(path, secrets.token_bytes(SECRET_BYTES).hex().encode() + b"\n")
    if path.stat().st_mode & 0o077:
        raise UsageError(f"{path} holds a secret that other users may read: chmod 600 {path}")
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise UsageError(
            f"{path} should hold {SECRET_BYTES * 2} hexadecimal digits and does not (its content is not shown); move "
            "it away and a new one is made, with which prompts get other digests than before"
        )
    return secret
