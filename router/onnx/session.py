"""onnxruntime sessions: check that the package works, and open a model held in memory. It knows no graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import TYPE_CHECKING

from router.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

LEAST_VERSION = (1, 24, 1)  # the first whose Python API takes external data from memory
INSTALL = "pip install 'onnxruntime>=1.24.1' installs it"


def onnxruntime_problem() -> str | None:
    """Why onnxruntime cannot be used, and what to do; None where it can.

    It reads the installed version without importing the package, which would take 0.3 s.
    """
    try:
        found = version("onnxruntime")
    except PackageNotFoundError:
        return f"onnxruntime is not installed; {INSTALL}"
    least = ".".join(map(str, LEAST_VERSION))
    numbers = tuple(map(int, re.findall(r"\d+", found)[:3]))
    return f"onnxruntime {found} is too old, {least} is needed; {INSTALL}" if numbers < LEAST_VERSION else None


def start_session(model: bytes, threads: int, files: Mapping[str, bytes] = MappingProxyType({})) -> InferenceSession:
    """A session of `model` on `threads` threads, with its external data in `files`.

    Both are in memory, not paths: onnxruntime refuses links, of which the Hub's cache consists, and the bytes that were
    checked are the bytes that are used. Raises UsageError where onnxruntime cannot be used.
    """
    problem = onnxruntime_problem()
    if problem:
        raise UsageError(problem)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # errors
    # Threads spin while they wait for each other within a run, which is a fifth faster than sleep. They stop after it,
    # because torch's threads and other requests need the processors.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    names, contents = list(files), list(files.values())
    options.add_external_initializers_from_files_in_memory(names, contents, [len(each) for each in contents])
    # SkipLayerNormalization takes three times as long as the sum and the normalisation that it replaces.
    slow = ["SkipLayerNormFusion"]
    providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers, disabled_optimizers=slow)
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise CheckpointError(f"onnxruntime cannot open the graph: {error}") from error
