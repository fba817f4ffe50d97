"""The socket and the limits of the process that serves."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import weakref
from pathlib import Path
from typing import cast

import pytest
from fixtures.fault_upstream import FaultUpstream
from fixtures.served import pool_file, serving
from threadpoolctl import threadpool_info, threadpool_limits

from router.checkpoint.checkpoint import Checkpoint
from router.encoding.onnx_encoder import OnnxEncoder
from router.errors import UsageError
from router.routing.router import Router
from router.serving.http import server
from router.serving.http.server import listen, run_until_stopped
from router.serving.service import Service, Source, leave_to_stay
from router.serving.settings import ServeSettings


def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1, port {port}: .*; choose another"):
            listen(ServeSettings(port=port))


def test_the_process_may_have_as_many_files_open_as_the_system_grants() -> None:
    code = (
        "import resource as r; from router.serving.http.server import allow_connections;"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, 900)); allow_connections(); print(r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(900, 900)"


def test_while_it_serves_numpy_multiplies_by_one_thread_and_what_was_loaded_is_left_to_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def threads() -> set[int]:
        return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}

    async def run(*_: object) -> None:
        seen.append((threads(), gc.get_freeze_count() > 0))

    seen: list[tuple[set[int], bool]] = []
    monkeypatch.setattr(server, "run", run)
    try:
        with threadpool_limits(2, user_api="blas"), listen(ServeSettings(port=0)) as listening:
            run_until_stopped(cast(Service, None), listening)
            assert threads() == {2}
    finally:
        gc.unfreeze()
    assert seen == [({1}, True)]


def test_what_a_reload_replaces_does_not_stay(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with serving(tiny_checkpoint, tmp_path) as served:
        served.chat()
        before = weakref.ref(served.service.engine.router)
        leave_to_stay()
        try:
            assert asyncio.run(served.service.reload())
            assert before() is None
            assert gc.get_freeze_count() > 0
        finally:
            gc.unfreeze()


def test_two_batches_are_under_way_and_share_the_encoder_on_a_cpu(tiny_router: Path, tmp_path: Path) -> None:
    source = Source(
        pool_file(tmp_path, [FaultUpstream("a", port=9)]), lambda: Router.from_pretrained(tiny_router), {"port": 0}
    )
    router, setup = source.load()
    service = Service(source, router, setup)
    assert isinstance(router.encoder, OnnxEncoder) and router.encoder._beside is not None
    assert len(service.engine._workers) == 2
    service.engine.close()
    router.device = "cuda"
    service = Service(source, router, setup)
    assert len(service.engine._workers) == 1, "a GPU takes one batch at a time"
    service.engine.close()
