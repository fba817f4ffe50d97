"""The socket and the limits of the process that serves."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from router.errors import UsageError
from router.serving.server import listen
from router.serving.settings import ServeSettings


def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1, port {port}: .*; choose another"):
            listen(ServeSettings(port=port))


def test_the_process_may_have_as_many_files_open_as_the_system_grants() -> None:
    code = (
        "import resource as r; from router.serving.server import allow_connections;"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, 900)); allow_connections(); print(r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(900, 900)"
