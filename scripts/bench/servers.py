"""Server processes of the benchmarks on loopback: an upstream and `router serve`, each awaited until it answers."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from timing import REPOSITORY

UPSTREAM = REPOSITORY / "tests" / "fixtures" / "fault_upstream.py"
WORDS = "prove that the root of two is a prime and write python code for where who law tax cell river".split()
MODELS = (
    ("gpt-4o-2024-08-06", 2.5, 10.0),
    ("gpt-4o-mini-2024-07-18", 0.15, 0.6),
    ("Meta-Llama-3.1-70B-Instruct", 0.88, 0.88),
)


@contextmanager
def process(command: Sequence[str], health: str | None = None, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process until the end of the block, once the address `health` answers."""
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | environment
        )
        try:
            until = time.monotonic() + 120
            while health is not None and not _answers(health):
                if child.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    name = Path(sys.argv[0]).stem
                    raise SystemExit(f"{name}: error: {command[0]} did not start: {log.read()[-2000:]}")
                time.sleep(0.1)
            yield child
        finally:
            child.terminate()
            child.communicate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 404 and url.endswith("/alive")
    except OSError:
        return False


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def upstream(gap_s: float = 0.0) -> Iterator[int]:
    """The port of an upstream that answers at once; `gap_s` between the events of its streams."""
    with process([sys.executable, str(UPSTREAM), str(gap_s)]) as child:
        assert child.stdout is not None
        yield int(child.stdout.readline())


@contextmanager
def gateway(
    flags: Sequence[str], target: dict[str, Any] | None = None, python: str = sys.executable, **environment: str
) -> Iterator[tuple[int, int]]:
    """Port and process id of `router serve` on a pool of MODELS, all of them at the upstream `target`.

    Without a target it is a decision service.
    """
    port, here = free_port(), {} if target is None else {"upstream": target}
    models = [
        {"id": name, "input_usd_per_mtok": price_in, "output_usd_per_mtok": price_out, **here}
        for name, price_in, price_out in MODELS
    ]
    with tempfile.TemporaryDirectory() as folder:
        pool: dict[str, Any] = {"name": "bench", "protocol": "chat-0shot-cot", "models": models}
        if target is not None:
            pool["serve"] = {"decision_log": f"{folder}/log.sqlite"}
        file = Path(folder) / "pool.json"
        file.write_text(json.dumps(pool))
        command = [python, "-m", "router.cli.main", "serve", str(file), "--port", str(port), *flags]
        with process(command, f"http://127.0.0.1:{port}/health", **environment) as child:
            yield port, child.pid
