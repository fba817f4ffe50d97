"""Small files that only their owner may read, each written whole: client keys, the key of the log's HMACs.

Knows nothing of what is in them.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.errors import UsageError

SECRET_BYTES = 32


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Waits until no other process is inside; the lock goes with the process and leaves no file behind."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_private(path: Path, content: bytes) -> None:
    """Write under a name beside it with mode 0600, then rename: nobody else reads it, nobody finds a part of it."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)  # left by a kill, maybe with another mode
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def local_secret(path: Path) -> bytes:
    """The 32 random bytes that `path` holds as hexadecimal digits; makes the file where there is none.

    Raises UsageError where others may read the file, or where it holds something else.
    """
    with locked_folder(path.parent):
        if not path.exists():
            write_private(path, secrets.token_bytes(SECRET_BYTES).hex().encode() + b"\n")
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
