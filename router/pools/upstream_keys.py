"""API keys of upstreams, from a file or an environment variable.

The open file is checked, not its path, so that nobody can swap it in between. No message holds any part of a key.
"""

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from router.errors import UsageError
from router.pools.pool import Upstream

LARGEST_FILE = 4096  # bytes


def upstream_key(upstream: Upstream, environment: Mapping[str, str]) -> str | None:
    """The key; None for an upstream that needs none. Raises UsageError that names a variable or file without a key."""
    if upstream.key_file is not None:
        try:
            return read_key_file(Path(upstream.key_file))
        except UsageError as error:
            raise UsageError(f"key_file: {error}") from error
    if upstream.key_env is None:
        return None
    key = environment.get(upstream.key_env, "").strip()
    if not key:
        raise UsageError(
            f"key_env: the environment variable {upstream.key_env} is not set; set it to the upstream's key"
        )
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"key_env: what {upstream.key_env} holds (not shown) has characters that no header can carry")
    return key


def read_key_file(path: Path) -> str:
    """The only line of a file that only root and this process' user may use.

    Raises UsageError for a file that is missing, is not regular (such as a symbolic link), belongs to another user, is
    open to others, is larger than LARGEST_FILE, or holds anything but one line of visible ASCII characters.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe is not waited for
    except OSError as error:
        why = "it is a link, name the regular file" if error.errno == errno.ELOOP else os.strerror(error.errno or 0)
        raise UsageError(f"{path}: {why}") from error
    try:
        fault = _fault_of_file(os.fstat(handle))
        content = b"" if fault else os.read(handle, LARGEST_FILE + 1)
    except OSError as error:
        raise UsageError(f"{path}: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(handle)
    line = content.removesuffix(b"\n")
    if fault := fault or _fault_of_content(content, line):
        raise UsageError(f"{path}: {fault}")
    return line.decode("ascii")


def _fault_of_file(found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    if found.st_uid not in (0, os.geteuid()):
        return "it belongs to another user; chown it to the user that runs this program"
    return "other users may read or change it; chmod 600" if found.st_mode & 0o077 else ""


def _fault_of_content(content: bytes, line: bytes) -> str:
    if len(content) > LARGEST_FILE:
        return f"it is larger than {LARGEST_FILE:,} bytes; write the key and nothing more"
    if not line:
        return "it is empty; write the key in one line"
    if b"\n" in line:
        return "it has more than one line; write the key and nothing more"
    if not all(0x21 <= byte <= 0x7E for byte in line):
        return "it holds a character that no key may have, such as a blank (its content is not shown)"
    return ""
