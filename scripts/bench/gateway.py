"""Speed of the gateway on loopback: `python scripts/bench/gateway.py [--litellm-env DIR]`.

Compares, with one upstream that answers at once and one client: the upstream itself, bare forwarding by httpx, our
gateway, and the LiteLLM proxy (fixed model) from its own environment DIR, since it conflicts with ours. They take
turns, a round each, so that other work of the machine slows all alike. Prints Markdown, or JSON with --json. Times are
in milliseconds.
"""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from servers import MODELS, WORDS, free_port, gateway, process, upstream
from timing import CHECKPOINT, environment, in_words, resident_mib, seconds, table

PATH = "/v1/chat/completions"
KEY = "sk-benchmark-of-the-gateway"  # the LiteLLM proxy needs one
FRESH = itertools.count()
COLUMNS = "way|requests/s|of bare|of LiteLLM|p50 ms|p95 ms|p50 above bare".split("|")


def body(model: str, fresh: bool, *, stream: bool = False, tokens: int = 50) -> bytes:
    """A chat of `tokens` words, each about a token; a `fresh` one was not sent before."""
    draw = random.Random(next(FRESH) if fresh else "same")
    text = " ".join(draw.choices(WORDS, k=tokens))
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}).encode()


class Connection:
    """One kept HTTP/1.1 connection: less work per request than any library, so that the client costs little."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._reader: asyncio.StreamReader | None = None

    async def ask(self, raw: bytes) -> int:
        """Status of the answer to a chat, after the whole answer has come."""
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writer.write(
            f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {KEY}\r\ncontent-length: {len(raw)}\r\n\r\n".encode()
            + raw
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        if b"transfer-encoding: chunked" in head:
            while size := int(await self._reader.readline(), 16):
                await self._reader.readexactly(size + 2)
            await self._reader.readline()
        else:
            length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
            await self._reader.readexactly(int(length))
        return status

    def close(self) -> None:
        if self._reader is not None:
            self._writer.close()


async def load(port: int, model: str, fresh: bool, duration_s: float, connections: int) -> tuple[float, list[float]]:
    """Requests a second, and the milliseconds of each."""
    until, times = time.perf_counter() + duration_s, []

    async def ask() -> None:
        connection = Connection(port)
        while (started := time.perf_counter()) < until:
            status = await connection.ask(body(model, fresh))
            if status != 200:
                raise SystemExit(f"gateway: error: port {port} answered {status}")
            times.append(1e3 * (time.perf_counter() - started))
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(connections)))
    return len(times) / (time.perf_counter() - started), times


async def open_streams(port: int, count: int) -> tuple[int, float]:
    """How many of `count` streams opened at once ended well, and the seconds until the last one ended."""
    started = time.perf_counter()
    connections = [Connection(port) for _ in range(count)]
    found = await asyncio.gather(
        *(each.ask(body("auto", fresh=True, stream=True)) for each in connections), return_exceptions=True
    )
    for each in connections:
        each.close()
    return sum(status == 200 for status in found), time.perf_counter() - started


async def memory(port: int, pid: int, requests: int, connections: int = 16) -> list[tuple[int, float]]:
    """Requests so far and the server's resident MiB, after a fiftieth and each tenth of all requests.

    Half of the prompts, of 10 words each, are fresh.
    """
    left, seen = iter(range(requests)), [(0, resident_mib(pid))]
    moments = {requests // 50, *(tenth * requests // 10 for tenth in range(1, 10))}

    async def ask() -> None:
        connection = Connection(port)
        for number in left:
            await connection.ask(body("auto", fresh=number % 2 == 0, tokens=10))
            if number in moments:
                seen.append((number, resident_mib(pid)))
        connection.close()

    await asyncio.gather(*(ask() for _ in range(connections)))
    return [*seen, (requests, resident_mib(pid))]


def forward_only(api_base: str, port: int) -> None:
    """Bare forwarding: the least that a gateway by httpx and uvicorn does."""
    import httpx
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    client = httpx.AsyncClient(trust_env=False)

    async def forward(request: Request) -> Response:
        answer = await client.post(
            f"{api_base}/chat/completions", content=await request.body(), headers={"content-type": "application/json"}
        )
        return Response(answer.content, answer.status_code, media_type="application/json")

    uvicorn.run(Starlette(routes=[Route(PATH, forward, methods=["POST"])]), port=port, log_level="error")


@contextmanager
def litellm_proxy(folder: Path, python: Path, upstream_port: int) -> Iterator[int]:
    """The port of the LiteLLM proxy before an upstream; its configuration is in `folder`."""
    port = free_port()
    params = {"model": "openai/up", "api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "x"}
    models = [{"model_name": "fixed", "litellm_params": params}]
    config = folder / "litellm.yaml"
    config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": KEY}}))
    command = [str(python / "bin" / "litellm"), *f"--host 127.0.0.1 --port {port} --config".split(), str(config)]
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_LOG": "ERROR"}
    with process(command, f"http://127.0.0.1:{port}/health/liveliness", **quiet) as _:
        yield port


def decision_ms(checkpoint: str, backend: str, count: int) -> float:
    """Median time of one decision in process, on fresh prompts like those of the load."""
    from router.routing.router import Router

    router = Router.from_pretrained(checkpoint, backend=backend)
    texts = [json.loads(body("auto", fresh=True))["messages"][0]["content"] for _ in range(count)]
    times = [1e3 * seconds(lambda text=text: router.route(text, top=3)) for text in texts]  # type: ignore[misc]
    return statistics.median(times[count // 5 :])


def ours(args: argparse.Namespace, upstream_port: int, sdk_env: Path | None = None) -> Any:
    """Our gateway before an upstream, as `gateway` yields it; from `sdk_env` it asks by LiteLLM's SDK."""
    target = {"api_base": f"http://127.0.0.1:{upstream_port}/v1"}
    flags = ["--checkpoint", args.checkpoint, "--backend", args.backend]
    if sdk_env is None:
        return gateway(flags, target)
    return gateway(flags, target | {"provider": "hosted_vllm"}, str(sdk_env / "bin" / "python"))


def compare(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Requests a second and times of every way, and the time of one decision."""
    with ExitStack() as stack:
        up = stack.enter_context(upstream())
        bare = free_port()
        own = [sys.executable, __file__, "--forward-only", f"http://127.0.0.1:{up}/v1", "--port", str(bare)]
        stack.enter_context(process(own, f"http://127.0.0.1:{bare}/alive"))
        own_port, _ = stack.enter_context(ours(args, up))
        ways = {
            "the upstream itself": (up, "up", True),
            "bare forwarding by httpx": (bare, "up", True),
            "our gateway, concrete model": (own_port, MODELS[0][0], True),
            "our gateway, auto, repeated prompt": (own_port, "auto", False),
            "our gateway, auto, fresh prompts": (own_port, "auto", True),
        }
        if args.sdk_env:
            sdk, _ = stack.enter_context(ours(args, up, args.sdk_env))
            ways["our gateway, auto, repeated, by LiteLLM's SDK"] = (sdk, "auto", False)
        if args.litellm_env:
            proxy = stack.enter_context(litellm_proxy(folder, args.litellm_env, up))
            ways["LiteLLM proxy, fixed model"] = (proxy, "fixed", True)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        alone: dict[str, list[float]] = {name: [] for name in ways}
        for port, model, fresh in ways.values():
            asyncio.run(load(port, model, fresh, 1.0, args.connections))
        for _ in range(args.rounds):
            for name, way in ways.items():
                rates[name].append(asyncio.run(load(*way, args.seconds, args.connections))[0])
                alone[name] += asyncio.run(load(*way, args.seconds / 2, 1))[1]
    decision = decision_ms(args.checkpoint, args.backend, 100)
    rows = {
        name: {"requests_per_s": statistics.median(rates[name]), "p50_ms": statistics.median(alone[name]),
               "p95_ms": sorted(alone[name])[int(0.95 * len(alone[name]))]}
        for name in ways
    }  # fmt: skip
    return {"rows": rows, "decision_ms": decision, "connections": args.connections, "backend": args.backend}


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = {}
    if args.rounds:
        with tempfile.TemporaryDirectory() as folder:
            found = compare(args, Path(folder))
    if args.streams:
        with upstream(gap_s=1.0) as up, ours(args, up) as (port, _):
            asyncio.run(load(port, "auto", True, 1.0, 4))
            well, taken_s = asyncio.run(open_streams(port, args.streams))
            found["streams"] = {"asked": args.streams, "ended_well": well, "seconds": taken_s}
    if args.memory_requests:
        with upstream() as up, ours(args, up) as (port, pid):
            asyncio.run(load(port, "auto", True, 5.0, args.connections))
            found["memory_mib"] = asyncio.run(memory(port, pid, args.memory_requests))
    return found


def report(found: dict[str, Any]) -> str:
    """All figures in Markdown."""
    parts = [in_words(environment()), *(compared(found) if "rows" in found else ())]
    if streams := found.get("streams"):
        well = f"{streams['ended_well']} of {streams['asked']} ended well"
        parts.append(f"Streams open at once: {well}, in {streams['seconds']:.1f} s.")
    if "memory_mib" in found:
        parts.append("Resident MiB by requests: " + ", ".join(f"{n:,}: {mib:.0f}" for n, mib in found["memory_mib"]))
    return "\n\n".join(parts)


def compared(found: dict[str, Any]) -> list[str]:
    """The table of ways, and the time of one decision."""
    rows, base = [], found["rows"]["bare forwarding by httpx"]
    proxy = found["rows"].get("LiteLLM proxy, fixed model")
    for name, row in found["rows"].items():
        rate = row["requests_per_s"]
        of_proxy = f"{rate / proxy['requests_per_s']:.2f}" if proxy else ""
        cells = (name, f"{rate:.0f}", f"{rate / base['requests_per_s']:.2f}", of_proxy)
        times = f"{row['p50_ms']:.1f}", f"{row['p95_ms']:.1f}", f"{row['p50_ms'] - base['p50_ms']:+.1f}"
        rows.append((*cells, *times))
    how = f"{found['connections']} connections, times of one connection alone, backend {found['backend']}"
    return [how, table(COLUMNS, rows), f"One decision in process: {found['decision_ms']:.1f} ms."]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--backend", default="auto", help="what computes our encoder, as for `router serve`")
    parser.add_argument("--litellm-env", type=Path, metavar="DIR", help="an environment that has litellm[proxy]")
    parser.add_argument("--sdk-env", type=Path, metavar="DIR", help="one that has inferencedynamics[litellm]")
    parser.add_argument("--rounds", type=int, default=5, help="0: compare nothing")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each way and round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--streams", type=int, default=500, help="open at once; 0: none")
    parser.add_argument("--memory-requests", type=int, default=0, metavar="N", help="watch the memory over N requests")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--forward-only", help=argparse.SUPPRESS)  # for the bare forwarder's own process
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.forward_only:
        forward_only(args.forward_only, args.port)
        return
    found = bench(args)
    print(json.dumps(found) if args.json else report(found))


if __name__ == "__main__":
    main()
