"""onnxruntime: whether it can be used here, and a session of a model that lies in memory. Knows no graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import TYPE_CHECKING

from router.errors import UsageError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

LEAST_VERSION = (1, 24, 1)  # the first that takes external data from memory in Python
INSTALL = "pip install 'onnxruntime>=1.24.1' installs it"


def onnxruntime_problem() -> str | None:
    """Why onnxruntime cannot be used here, and what to do; None where it can.

    Looks at what is installed and imports nothing, which would take 0.3 s.
    """
    try:
        found = version("onnxruntime")
    except PackageNotFoundError:
        return f"onnxruntime is not installed; {INSTALL}"
    least = ".".join(map(str, LEAST_VERSION))
    numbers = tuple(map(int, re.findall(r"\d+", found)[:3]))
    return f"onnxruntime {found} is too old, {least} is needed; {INSTALL}" if numbers < LEAST_VERSION else None


def start_session(model: bytes, threads: int, files: Mapping[str, bytes] = MappingProxyType({})) -> InferenceSession:
    """A session of `model` on `threads` threads; its external data, if any, lies in `files`. UsageError where
    onnxruntime cannot be used.

    From memory, never by path: onnxruntime refuses links, which is what the Hub's cache is made of, and what was
    checked is what is used.
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
    # Threads of one run wait for each other by spinning, a fifth faster than asleep, and no longer than the run: then
    # others here need their processors, torch's threads and other requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    names, contents = list(files), list(files.values())
    options.add_external_initializers_from_files_in_memory(names, contents, [len(each) for each in contents])
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
