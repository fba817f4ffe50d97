"""Latency of one decision, by backend and length of the query: `python scripts/bench/latency.py`.

Each backend runs in a process of its own, since waiting threads of one would slow the other down. The processes take
turns, a round each, so that other work of the machine slows all alike. Fresh processes also give the cold start. With
--drawn, queries of the data folder are measured as well, one after the other at their own lengths: what a user sees.
Prints Markdown, or JSON with --json. Times are in milliseconds.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from timing import CHECKPOINT, Worker, environment, in_turns, in_words, resident_mib, seconds, table, text_of

BACKENDS = ("torch", "onnx", "onnx-int8")
LENGTHS = (8, 32, 64, 128)  # tokens, special ones included
DRAWN, DRAWN_FOLD = "drawn", 7  # the row of queries of all lengths, and the fold they are drawn from
# Parts of a decision: the whole, tokenisation alone, the encoder's bare forward, and all but the encoder (heads,
# candidates, policy, report).
PARTS = ("decision", "tokenisation", "forward", "the rest")
COLUMNS = "tokens|backend|decision p50 (rounds)|p95|p99|tokens|forward|rest|ratio|× torch".split("|")
STARTS = "backend|cold start|import|load|first decision|resident MiB".split("|")


def query_of(tokens: int, tokenize: Callable[[list[str]], list[list[int]]]) -> str:
    """English of exactly `tokens` tokens; SystemExit where the encoder reads another number."""
    text = text_of(tokens)
    if len(tokenize([text])[0]) != tokens:
        raise SystemExit(f"latency: error: this encoder reads no {tokens} tokens of {text!r}")
    return text


def drawn_queries(count: int) -> list[str]:
    """Queries of the data folder's fold `DRAWN_FOLD`, drawn with seed 0 from all benchmarks."""
    from router.evaluation.dataset import read_dataset

    queries = read_dataset().queries
    texts: list[str] = queries[queries["fold"] == DRAWN_FOLD]["text"].sample(count, random_state=0).tolist()
    return texts


def work(options: argparse.Namespace) -> None:
    """Work of one process: load, decide once, then print a round of measurements for each line on stdin."""
    if options.processors:  # before torch is imported: like onnxruntime here it starts a thread for each
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.processors])
    start = time.perf_counter()
    from router.routing.router import Router

    imported = time.perf_counter()
    router = Router.from_pretrained(options.checkpoint, backend=options.worker)
    loaded = time.perf_counter()
    router.route("Is this indemnity clause enforceable in Delaware?")
    once = {
        "import": 1e3 * (imported - start),
        "load": 1e3 * (loaded - imported),
        "first": 1e3 * (time.perf_counter() - loaded),
        "resident_mib": resident_mib(),
    }
    print(json.dumps(once), flush=True)
    texts = {str(length): [query_of(length, router.encoder.tokenize)] for length in options.lengths}
    if options.drawn:
        texts[DRAWN] = drawn_queries(options.drawn)
    steps = {name: [_steps(router, text) for text in each] for name, each in texts.items()}
    for line in sys.stdin:
        times = {
            name: {part: _times([parts[part] for parts in each], int(line)) for part in PARTS}
            for name, each in steps.items()
        }
        print(json.dumps(times), flush=True)


def _steps(router: Any, text: str) -> dict[str, Callable[[], object]]:
    """Timed calls of one query, by the names of `PARTS`."""
    from router.encoding.onnx_encoder import OnnxEncoder

    encoder = router.encoder
    batch = encoder.tokenizer.pad(encoder.tokenize([text]))
    embedding = encoder.encode([text])
    if isinstance(encoder, OnnxEncoder):
        forward: Callable[[], object] = lambda: encoder.forward(*batch)  # noqa: E731
    else:
        import torch

        tensors = [torch.from_numpy(each) for each in batch]
        embedding = embedding.clone()

        @torch.inference_mode()
        def forward() -> object:
            return encoder(*tensors)

    class Read:
        """Stand-in for the encoder that has the embedding already."""

        described = encoder.described

        def encode(self, texts: Sequence[str], batch_size: int) -> Any:
            return embedding

    def rest() -> object:
        router.pipeline.encoder = Read()
        try:
            return router.route(text)
        finally:
            router.pipeline.encoder = encoder

    steps = (lambda: router.route(text), lambda: encoder.tokenizer.pad(encoder.tokenize([text])), forward, rest)
    return dict(zip(PARTS, steps, strict=True))


def _times(steps: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Milliseconds of each step in turn, each at least once and `repeats` in all."""
    return [1e3 * seconds(step) for _ in range(-(-repeats // len(steps))) for step in steps]


def start(command: Sequence[str], backend: str) -> tuple[Worker, dict[str, float]]:
    """A process of `backend` after its first decision, with the times of its start."""
    begin = time.perf_counter()
    worker = Worker([*command, "--worker", backend])
    once = worker.read()
    return worker, once | {"cold": 1e3 * (time.perf_counter() - begin)}


def measure(options: argparse.Namespace, command: Sequence[str]) -> dict[str, Any]:
    """Quantiles of every backend, length and part, and cold starts; `command` starts a process."""
    cold: dict[str, list[dict[str, float]]] = {backend: [] for backend in BACKENDS}
    for left in reversed(range(options.starts)):
        workers = {}
        for backend in BACKENDS:
            workers[backend], once = start(command, backend)
            cold[backend].append(once)
            if left:
                workers[backend].close()
    figures = in_turns(workers, options.rounds, options.repeats)
    for worker in workers.values():
        worker.close()
    typical = {
        backend: {key: float(np.median([each[key] for each in starts])) for key in starts[0]}
        for backend, starts in cold.items()
    }
    settings = {"used": options.processors, "rounds": options.rounds, "repeats": options.repeats}
    about = environment("torch", "onnxruntime", "tokenizers", "numpy") | settings
    return {"environment": about, "times_ms": figures, "starts": typical}


def markdown(figures: dict[str, Any]) -> str:
    """The environment, one row per length and backend, one row per backend's start."""
    times, rows = figures["times_ms"], []
    for length in times["torch"]:
        for backend in BACKENDS:
            whole, reading, forward, rest = (times[backend][length][part] for part in PARTS)
            figure = "typical" if length == DRAWN else "p50"  # medians over different queries do not add up
            ratio = whole[figure] / (reading[figure] + forward[figure])
            faster = times["torch"][length]["decision"]["p50"] / whole["p50"]
            spread = f"{whole['p50']:.2f} ({whole['least']:.2f} to {whole['most']:.2f})"
            plain = (whole["p95"], whole["p99"], reading["p50"], forward["p50"], rest["p50"], ratio)
            rows.append((length, backend, spread, *(f"{each:.2f}" for each in plain), f"{faster:.1f}"))
    keys = ("cold", "import", "load", "first", "resident_mib")
    starts = [(backend, *(f"{each[key]:.0f}" for key in keys)) for backend, each in figures["starts"].items()]
    return "\n\n".join([in_words(figures["environment"]), table(COLUMNS, rows), table(STARTS, starts)])


def main(args: Sequence[str] | None = None) -> int:
    """Print the figures; 0 when done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", default=CHECKPOINT)
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=LENGTHS, help="tokens of a query (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="after one that warms up (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20, help="in each round (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="fresh processes of each backend (default: %(default)s)")
    parser.add_argument("--processors", type=int, help="that a process may use (default: all)")
    parser.add_argument("--drawn", type=int, default=0, help="queries of the data folder, as they come (default: none)")
    parser.add_argument("--json", action="store_true", help="print JSON, not Markdown")
    parser.add_argument("--worker", choices=BACKENDS, help=argparse.SUPPRESS)
    options = parser.parse_args(args)
    if options.worker:
        work(options)
        return 0
    figures = measure(options, [sys.executable, __file__, *(sys.argv[1:] if args is None else args)])
    print(json.dumps(figures, indent=1) if options.json else markdown(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
