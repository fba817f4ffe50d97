"""Processes that a graded program starts end with it."""

from __future__ import annotations

import asyncio
import fcntl
import time
from pathlib import Path

from train.collect.code_tests import CodeRunner

LEAVES_A_CHILD = """
import fcntl, os, time
lock = open({file!r}, "w")
fcntl.flock(lock, fcntl.LOCK_EX)
if os.fork() == 0:
    time.sleep(600)
    os._exit(0)
"""


def test_a_process_that_a_program_leaves_behind_is_killed_with_it(tmp_path: Path) -> None:
    file = tmp_path / "held"  # locked for as long as the child lives
    assert asyncio.run(CodeRunner(isolated=False).grade(LEAVES_A_CHILD.format(file=str(file)), "x = 1")) == 1
    end = time.monotonic() + 60
    with file.open() as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                assert time.monotonic() < end, "the child lives on"
                time.sleep(0.02)
