"""Common code of the benchmarks: timed calls, quantiles, worker processes that take turns, the machine, tables.

Loads torch only for a GPU: a worker may have to choose its processors before torch starts its threads.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKPOINT = str(REPOSITORY / "checkpoints" / "routemix")
_WORDS = "prove that the root of two is a prime".split()  # one token each


def wait_for(device: object) -> None:
    """Wait for the kernels of a GPU; no other device has any."""
    if str(device).startswith("cuda"):
        import torch

        torch.cuda.synchronize(str(device))


def seconds(run: Callable[[], object], device: object = "cpu") -> float:
    """Time of one call, the device's work included."""
    start = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - start


def spread(times: Sequence[float]) -> tuple[float, float, float]:
    """The 10% quantile, median and 90% quantile.

    >>> spread([3.0, 1.0, 2.0])[1]
    2.0
    """
    low, middle, high = np.quantile(times, [0.1, 0.5, 0.9]).tolist()
    return low, middle, high


def text_of(tokens: int) -> str:
    """English of `tokens` tokens, the two special ones included.

    >>> text_of(5)
    'prove that the'
    """
    return " ".join(_WORDS[i % len(_WORDS)] for i in range(tokens - 2))


def quickstart_pairs() -> list[str]:
    """Pairs of the quickstart's queries: all of them, the first query changing fastest."""
    lines = (REPOSITORY / "scripts" / "quickstart_queries.txt").read_text(encoding="utf-8").splitlines()
    texts = [line for line in lines if line.strip()]
    return [f"{one} {other}" for other in texts for one in texts]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table.

    >>> print(table(("a", "b"), [("x", 1)]))
    | a | b |
    |---|---|
    | x | 1 |
    """
    first, *others = ("| " + " | ".join(map(str, cells)) + " |" for cells in (head, *rows))
    return "\n".join([first, "|" + "---|" * len(head), *others])


class Worker:
    """A process that prints a line of JSON when it is ready, then one for each number of repeats that it is sent."""

    def __init__(self, command: Sequence[str]) -> None:
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def read(self) -> Any:
        """The next line's value. SystemExit where the process has ended."""
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        name, code = Path(sys.argv[0]).stem, self._process.wait()
        raise SystemExit(f"{name}: error: a process ended with exit code {code}; see above")

    def measure(self, repeats: int) -> Any:
        """The figures of one round."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{repeats}\n")
        self._process.stdin.flush()
        return self.read()

    def close(self) -> None:
        """End the process, which stops at the end of its input."""
        self._process.communicate()


def in_turns(workers: Mapping[str, Worker], rounds: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Quantiles of what workers measure, by worker and by the two names of its figures; the first round warms up."""
    turns = [{name: each.measure(repeats) for name, each in workers.items()} for _ in range(rounds + 1)][1:]
    return {
        name: {
            outer: {inner: quantiles([turn[name][outer][inner] for turn in turns]) for inner in by}
            for outer, by in found.items()
        }
        for name, found in turns[0].items()
    }


def quantiles(rounds: Sequence[Sequence[float]]) -> dict[str, float]:
    """Quantiles of all times of all rounds, the extreme medians of a round, and the mean of each step's median."""
    medians = np.median(rounds, axis=1).tolist()
    p50, p95, p99 = np.percentile(rounds, [50, 95, 99]).tolist()
    typical = float(np.median(rounds, axis=0).mean())
    return {"p50": p50, "p95": p95, "p99": p99, "least": min(medians), "most": max(medians), "typical": typical}


def gpu_name(device: object) -> str | None:
    """Name of the GPU; None for another device."""
    if not str(device).startswith("cuda"):
        return None
    import torch

    return torch.cuda.get_device_name(str(device))


def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment(*packages: str, device: object = "cpu") -> dict[str, Any]:
    """Date, machine, load, and the versions of Python and of packages."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpu": gpu_name(device),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def in_words(about: Mapping[str, Any]) -> str:
    """An environment in one line."""
    return ", ".join(f"{key} {value}" for key, value in about.items() if value is not None)


def resident_mib(process: int | str = "self") -> float:
    """Memory that a process has in use, as Linux counts it; NaN elsewhere."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
