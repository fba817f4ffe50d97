"""Runs a program that a model wrote against tests, in a process of its own that can do little.

Isolated: without network, on a read-only file system with a small temporary folder, without other processes in sight
(Linux namespaces by `unshare`). Always: limits on time, memory, files and processes, an empty environment. That keeps
careless programs from doing harm; against a malicious one use a machine of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from router.errors import UsageError

TIMEOUT_S = 10.0
MEMORY_MIB = 1024
AT_ONCE = max(1, (os.cpu_count() or 2) // 2)
FENCE = re.compile(r"```[ \t]*(?:python|py|python3)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)

# Every mount read-only, a small /tmp, no capabilities left: so nothing can be mounted writable again.
SET_UP = """
cut -d' ' -f2 /proc/mounts | while read -r place; do mount -o remount,bind,ro "$place" 2>/dev/null; done
mount -t tmpfs -o size=64m tmpfs /tmp && cd /tmp || exit 70
touch / 2>/dev/null && exit 71
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
"""
ISOLATED = (
    *"unshare --user --map-root-user --net --mount --ipc --pid --fork --kill-child --mount-proc sh -c".split(),
    SET_UP,
    "sh",
)
# Limits first, then the program, which comes through a pipe and lies in no file.
START = """
import resource, sys
seconds, memory = int(sys.argv[1]), int(sys.argv[2]) << 20
limits = {"CPU": seconds, "AS": memory, "DATA": memory, "FSIZE": 1 << 24, "NOFILE": 64, "NPROC": 32, "CORE": 0}
for name, most in limits.items():
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (most, most))
source = sys.stdin.read()
del sys.argv[1:]
exec(compile(source, "<answer>", "exec"), {"__name__": "__main__"})
"""


def program_in(answer: str) -> str:
    """The last fenced block of an answer, else all of it.

    >>> program_in("Sure:\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1\\n'
    """
    blocks = FENCE.findall(answer)
    return str(blocks[-1]) if blocks else answer


class CodeRunner:
    """Grades programs, a few at a time."""

    def __init__(self, isolated: bool, timeout_s: float = TIMEOUT_S, memory_mib: int = MEMORY_MIB) -> None:
        """Raises UsageError where programs should be isolated and this machine cannot do that."""
        if isolated and not can_isolate():
            raise UsageError(
                "this machine cannot isolate programs (Linux with unshare, setpriv and user namespaces is needed): "
                "run on one that can, or give --run-code plain, which leaves them network and files"
            )
        self.prefix: Sequence[str] = ISOLATED if isolated else ()
        self.timeout_s, self.memory_mib = timeout_s, memory_mib
        self.free = asyncio.Semaphore(AT_ONCE)

    async def grade(self, answer: str, tests: str) -> float:
        """1 where the program in `answer`, and `tests` after it, run to their end; else 0."""
        done = f"tests passed {secrets.token_hex(16)}"  # a program that ends early cannot print it
        source = f"{program_in(answer)}\n\n{tests}\n\nprint({done!r}, flush=True)\n"
        async with self.free:
            with tempfile.TemporaryDirectory(prefix="code-") as folder:
                return float(done in await self._output(source, Path(folder)))

    async def _output(self, source: str, folder: Path) -> str:
        limits = (str(int(self.timeout_s) + 1), str(self.memory_mib))
        output = folder / "output"
        with output.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                *self.prefix, sys.executable, "-I", "-c", START, *limits,
                stdin=subprocess.PIPE, stdout=stream, stderr=subprocess.DEVNULL,
                cwd=folder, env={"PATH": os.defpath, "HOME": str(folder)}, start_new_session=True,
            )  # fmt: skip
            try:
                async with asyncio.timeout(self.timeout_s):
                    await process.communicate(source.encode("utf-8", "replace"))
            except TimeoutError:
                pass
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        with output.open("rb") as read:
            read.seek(max(0, output.stat().st_size - 10_000))
            return read.read().decode("utf-8", "replace")


@functools.cache
def can_isolate() -> bool:
    """Whether this machine runs an isolated Python."""
    command = [*ISOLATED, sys.executable, "-I", "-c", "print('inside')"]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=20, check=False, env={"PATH": os.defpath})
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.stdout == b"inside\n"
