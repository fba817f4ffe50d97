"""Grading of code: a program that a model wrote is judged by tests that run in another process.

Threat model: the program is written to score 1, knows this code, and may do anything in its own process. The verdict is
the exit code of the tests' process, which asks the program for values (`program_link`). The program sees no test, no
expected value and no stream that carries a verdict: it can only return what the tests accept. Tests bring their own
helpers, since a name that they take from the program means whatever the program says.

Isolated (`sandbox`): both processes see no network, no socket, no file but the interpreter's, no other process, and a
program cannot start one. Plain: they run as the user who collects, so a program may do what this user may, and could
attack the collector. Always: limits on time, memory, files and processes, an empty environment.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

from router.errors import GradingError
from train.collect import program_link
from train.collect.program_link import PASSED, UNFIT
from train.collect.sandbox import check_isolation, descriptor_of, isolated, one_process, packages, python

TIMEOUT_S = 10.0
MEMORY_MIB = 1024
AT_ONCE = max(1, (os.cpu_count() or 2) // 2)
FENCE = re.compile(r"```[ \t]*(?:python|py|python3)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)

LINK = Path(program_link.__file__)


def program_in(answer: str) -> str:
    """The last fenced block of an answer, or all of it where there is none.

    >>> program_in("Sure:\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1\\n'
    """
    blocks = FENCE.findall(answer)
    return str(blocks[-1]) if blocks else answer


class CodeRunner:
    """Grader of programs, which runs a few at a time."""

    def __init__(self, isolated: bool, timeout_s: float = TIMEOUT_S, memory_mib: int = MEMORY_MIB) -> None:
        """Raises UsageError where programs should be isolated and this machine cannot isolate them."""
        if isolated:
            check_isolation()
        self.isolated, self.timeout_s, self.memory_mib = isolated, timeout_s, memory_mib
        self.free = asyncio.Semaphore(AT_ONCE)

    async def grade(self, answer: str, tests: str) -> float:
        """1 if the program in `answer` runs to its end and then passes `tests`, otherwise 0.

        Raises GradingError where the tests pass an object that cannot reach a program in another process.
        """
        job = json.dumps([program_in(answer), tests]).encode()
        async with self.free:
            with tempfile.TemporaryDirectory(prefix="code-") as folder:
                code = await self._exit_code(job, folder)
        if code == UNFIT:
            raise GradingError("its tests hand the program an object that is neither plain data nor can be called")
        return float(code == PASSED)

    async def _exit_code(self, job: bytes, folder: str) -> int | None:
        """Exit code of the tests' process; None where it ran out of time."""
        calls, answers = os.pipe(), os.pipe()
        started: list[asyncio.subprocess.Process] = []
        try:
            try:
                started.append(await self._start(calls[0], answers[1], folder, None))
                with descriptor_of(job) as sources:
                    started.append(await self._start(answers[0], calls[1], folder, sources))
            finally:
                for each in (*calls, *answers):
                    os.close(each)
            async with asyncio.timeout(self.timeout_s):
                return await started[1].wait()
        except TimeoutError:
            return None
        finally:
            for process in started:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    async def _start(self, reading: int, writing: int, folder: str, job: int | None) -> asyncio.subprocess.Process:
        settings = {
            "cpu_s": int(self.timeout_s) + 1,
            "memory": self.memory_mib << 20,
            "packages": packages(),
            "job": job,
        }
        with descriptor_of(one_process()) if self.isolated else contextlib.nullcontext(-1) as rules:
            prefix = isolated(rules) if self.isolated else []
            return await asyncio.create_subprocess_exec(
                *prefix, python(), "-I", "-c", LINK.read_text(), json.dumps(settings),
                stdin=reading, stdout=writing, stderr=subprocess.DEVNULL, cwd=folder,
                env={"PATH": os.defpath, "HOME": folder}, start_new_session=True,
                pass_fds=[each for each in (job, rules) if each not in (None, -1)],
            )  # fmt: skip
