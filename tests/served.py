"""A real gateway on a free port, in a thread of this process, in front of upstreams that fail on demand."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from fault_upstream import FaultUpstream

from router.checkpoint import Checkpoint
from router.routing import Router
from router.serving import server
from router.serving.service import Service, Source

PROFILES = ("large@chat", "small@chat", "small@exam")
PRICES = ((2.5, 10.0), (0.1, 0.4), (1.0, 2.0))


class Served:
    """A gateway that runs, and its upstreams by name."""

    def __init__(self, service: Service, upstreams: Sequence[FaultUpstream], port: int) -> None:
        self.service, self.port = service, port
        self.upstreams = {each.name: each for each in upstreams}
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def chat(self, text: str = "prove that two is prime", model: str = "auto", **rest: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **rest}
        return self.client.post("/v1/chat/completions", json=body)

    def fail(self, fault: str, *names: str) -> None:
        for name in names or self.upstreams:
            self.upstreams[name].fault = fault


def pool_file(
    folder: Path, upstreams: Sequence[FaultUpstream], serve: dict[str, Any] | None = None, **entry: dict[str, Any]
) -> Path:
    """A pool with a model for each upstream, of its name; `entry` changes those of these names."""
    models = []
    for number, each in enumerate(upstreams):
        price_in, price_out = PRICES[number]
        changes = dict(entry.get(each.name, {}))
        upstream = {"api_base": each.api_base, "model": f"{each.name}-upstream", "timeout_s": 5} | changes.pop(
            "upstream", {}
        )
        models.append(
            {"id": each.name, "profile": PROFILES[number], "input_usd_per_mtok": price_in, "tools": True,
             "output_usd_per_mtok": price_out, "modalities": ["text", "image"], "upstream": upstream} | changes
        )  # fmt: skip
    path = folder / "pool.json"
    path.write_text(json.dumps({"name": "three", "models": models, "serve": {"drain_s": 5} | (serve or {})}))
    return path


@contextmanager
def run_service(service: Service) -> Iterator[int]:
    """The port that a service is served on, in a thread."""
    listening = server.listen(service.setup.settings)
    ready, loops, failed = threading.Event(), [], []

    async def main() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        await server.run(service, listening, stop)

    def thread() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failed.append(error)
            raise

    runner = threading.Thread(target=thread, daemon=True)
    runner.start()
    port = listening.getsockname()[1]
    try:
        with httpx.Client(trust_env=False) as probe:
            for _ in range(500):
                if not runner.is_alive():
                    raise AssertionError(f"the server ended: {failed}")
                try:
                    if probe.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                ready.wait(0.01)
        yield port
    finally:
        loop, stop = loops[0]
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        runner.join(15)
        assert not runner.is_alive()


@contextmanager
def serving(
    checkpoint: Checkpoint,
    folder: Path,
    names: Sequence[str] = ("a", "b", "c"),
    serve: dict[str, Any] | None = None,
    **entry: dict[str, Any],
) -> Iterator[Served]:
    """A gateway before an upstream for each of `names`."""
    with ExitStack() as stack:
        upstreams = [stack.enter_context(FaultUpstream(name)) for name in names]
        path = pool_file(folder, upstreams, serve, **entry)
        source = Source(path, lambda: Router(checkpoint), {"port": 0})
        service = Service(source, *source.load())
        port = stack.enter_context(run_service(service))
        served = Served(service, upstreams, port)
        stack.callback(served.client.close)
        yield served
