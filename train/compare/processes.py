"""Parallel jobs in worker processes of one thread each. Does not know what the jobs do."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(task: Callable[[Any, Any], Result], jobs: Sequence[Any], shared: Any, workers: int) -> Iterator[Result]:
    """Results of `task(shared, job)` as they come, from this process for one worker, otherwise from `workers` others.

    `task` is a function of a module; `shared` goes to each process once. The first exception of a task is raised when
    the running tasks have ended; waiting ones are not started.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        for job in jobs:
            yield task(shared, job)
        return
    with single_threads():
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        with ProcessPoolExecutor(workers, context, _share, (shared,)) as executor:
            try:
                for future in as_completed([executor.submit(_do, task, job) for job in jobs]):
                    yield future.result()
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise


@contextmanager
def single_threads() -> Iterator[None]:
    """A block in which started processes use one thread each for arithmetic."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_shared: Any = None  # of a worker process


def _share(shared: Any) -> None:
    global _shared
    _shared = shared


def _do(task: Callable[[Any, Any], Result], job: Any) -> Result:
    return task(_shared, job)
