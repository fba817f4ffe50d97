"""How long one decision takes, by backend and length of the query: `python scripts/bench/latency.py`.

Each backend runs in a process of its own, since threads of one that wait would slow the other down; the processes take
turns, one round each after the other, so that whatever else the machine does hits all alike. A fresh process per
backend also tells the cold start. With --drawn, queries of the data folder are measured besides, one after the other,
whatever their lengths: what a user sees. Prints Markdown, or JSON with --json. Times are in milliseconds.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
BACKENDS = ("torch", "onnx", "onnx-int8")
LENGTHS = (8, 32, 64, 128)  # tokens, special ones included
QUANTILES = (50, 95, 99)
DRAWN, DRAWN_FOLD = "drawn", 7  # the row of queries as they come, and the fold they are drawn from
# Parts of a decision: all of it, tokenisation alone, the bare forward of the encoder, and all but reading (heads,
# candidates, policy, what is reported).
PARTS = ("decision", "tokenisation", "forward", "the rest")
_WORDS = "prove that the root of two is a prime"  # one token each


def query_of(tokens: int, tokenize: Callable[[list[str]], list[list[int]]]) -> str:
    """English of exactly `tokens` tokens; all of `_WORDS` are one each."""
    words = _WORDS.split()
    text = " ".join(words[i % len(words)] for i in range(tokens - 2))
    if len(tokenize([text])[0]) != tokens:
        raise SystemExit(f"latency: error: this encoder reads no {tokens} tokens of {text!r}")
    return text


def drawn_queries(count: int) -> list[str]:
    """So many queries of the data folder's fold `DRAWN_FOLD`, drawn with seed 0; they need not be known to a pool."""
    from router.evaluation.dataset import data_folder, read_dataset

    queries = read_dataset(data_folder(None)).queries
    texts: list[str] = queries[queries["fold"] == DRAWN_FOLD]["text"].sample(count, random_state=0).tolist()
    return texts


def work(checkpoint: str, backend: str, lengths: Sequence[int], processors: int | None, drawn: str | None) -> None:
    """What one process does: load, decide once, then for each line on stdin a round of measurements, to stdout."""
    if processors is not None:  # before torch is imported: like onnxruntime here it starts a thread for each
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processors])
    start = time.perf_counter()
    from router.routing.router import Router

    imported = time.perf_counter()
    router = Router.from_pretrained(checkpoint, backend=backend)
    loaded = time.perf_counter()
    router.route("Is this indemnity clause enforceable in Delaware?")
    once = {
        "import": 1e3 * (imported - start),
        "load": 1e3 * (loaded - imported),
        "first": 1e3 * (time.perf_counter() - loaded),
        "resident_mib": _resident_mib(),
    }
    print(json.dumps(once), flush=True)
    texts = {str(length): [query_of(length, router.encoder.tokenize)] for length in lengths}
    if drawn:
        texts[DRAWN] = json.loads(Path(drawn).read_text(encoding="utf-8"))
    steps = {name: [_steps(router, text) for text in each] for name, each in texts.items()}
    for line in sys.stdin:
        times = {
            name: {part: _times([parts[part] for parts in each], int(line)) for part in PARTS}
            for name, each in steps.items()
        }
        print(json.dumps(times), flush=True)


def _steps(router: Any, text: str) -> dict[str, Callable[[], object]]:
    """What is timed of one query, by the names of `PARTS`."""
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
        """Stands in for the encoder with an embedding that is there already."""

        described = encoder.described

        def encode(self, texts: Sequence[str], batch_size: int) -> Any:
            return embedding

        def corrections(self, query: str) -> dict[str, str]:
            result: dict[str, str] = encoder.corrections(query)
            return result

    def rest() -> object:
        router.pipeline.encoder = Read()
        try:
            return router.route(text)
        finally:
            router.pipeline.encoder = encoder

    steps = (lambda: router.route(text), lambda: encoder.tokenizer.pad(encoder.tokenize([text])), forward, rest)
    return dict(zip(PARTS, steps, strict=True))


def _times(steps: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Of each step in turn, each at least once and `repeats` in all."""
    times = []
    for _ in range(-(-repeats // len(steps))):
        for step in steps:
            start = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - start))
    return times


def _resident_mib() -> float:
    """Memory of this process that is in use, as Linux counts it; NaN elsewhere."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def start(
    options: argparse.Namespace, backend: str, drawn: str | None
) -> tuple[subprocess.Popen[str], dict[str, float]]:
    """A process of `backend` that has decided once, and what that took; `drawn` is a file of queries."""
    command = [
        sys.executable,
        __file__,
        options.checkpoint,
        "--worker",
        backend,
        "--lengths",
        *map(str, options.lengths),
    ]
    command += [] if options.processors is None else ["--processors", str(options.processors)]
    command += [] if drawn is None else ["--texts", drawn]
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    once = _read(process)
    return process, once | {"cold": 1e3 * (time.perf_counter() - begin)}


def _read(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"latency: error: a process ended with exit code {process.wait()}; see above")
    answer: dict[str, Any] = json.loads(line)
    return answer


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Times of every backend, length and part over all rounds but the first, which warms up; and cold starts."""
    with tempfile.TemporaryDirectory() as scratch:
        drawn = Path(scratch) / "drawn.json"
        if options.drawn:
            drawn.write_text(json.dumps(drawn_queries(options.drawn)), encoding="utf-8")
        return _measure(options, str(drawn) if options.drawn else None)


def _measure(options: argparse.Namespace, drawn: str | None) -> dict[str, Any]:
    cold: dict[str, list[dict[str, float]]] = {backend: [] for backend in BACKENDS}
    for last in (False,) * (options.starts - 1) + (True,):
        processes = {}
        for backend in BACKENDS:
            processes[backend], once = start(options, backend, drawn)
            cold[backend].append(once)
            if not last:
                processes[backend].communicate()
    times: dict[str, dict[str, dict[str, list[float]]]] = {}
    for number in range(options.rounds + 1):
        for backend, process in processes.items():
            assert process.stdin is not None
            process.stdin.write(f"{options.repeats}\n")
            process.stdin.flush()
            for length, parts in _read(process).items():
                for part, seen in parts.items():
                    kept = times.setdefault(backend, {}).setdefault(length, {}).setdefault(part, [])
                    kept.extend(seen if number else [])
    for process in processes.values():
        process.communicate()
    figures = {
        backend: {
            length: {part: _figures(seen, options.rounds) for part, seen in parts.items()}
            for length, parts in by.items()
        }
        for backend, by in times.items()
    }
    starts = {
        backend: {key: float(np.median([each[key] for each in seen])) for key in seen[0]}
        for backend, seen in cold.items()
    }
    return {"environment": environment(options), "times_ms": figures, "starts": starts}


def _figures(times: Sequence[float], rounds: int) -> dict[str, float]:
    """Quantiles of all times, the extreme medians of a round, and the mean of each step's median over rounds."""
    by_round = np.reshape(times, (rounds, -1))
    medians = np.median(by_round, axis=1)
    quantiles = dict(zip([f"p{each}" for each in QUANTILES], np.percentile(times, QUANTILES).tolist(), strict=True))
    typical = float(np.median(by_round, axis=0).mean())
    return quantiles | {"least": medians.min().item(), "most": medians.max().item(), "typical": typical}


def environment(options: argparse.Namespace) -> dict[str, Any]:
    """Where and with what this was measured."""
    processor = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor,
        "processors": os.cpu_count(),
        "used": options.processors,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "onnxruntime", "tokenizers", "numpy")},
        "rounds": options.rounds,
        "repeats": options.repeats,
    }


def _lines(file: str) -> list[str]:
    return Path(file).read_text().splitlines() if Path(file).is_file() else []


def markdown(figures: dict[str, Any]) -> str:
    """The environment, one row per length and backend, one row per backend's start."""
    about = ", ".join(f"{key} {value}" for key, value in figures["environment"].items() if value is not None)
    lines = [
        about,
        "",
        "| tokens | backend | decision p50 (rounds) | p95 | p99 | tokens | forward | rest | ratio | × torch |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    times = figures["times_ms"]
    for length in times["torch"]:
        for backend in BACKENDS:
            whole, reading, forward, rest = (times[backend][length][part] for part in PARTS)
            figure = "typical" if length == DRAWN else "p50"  # medians over different queries do not add up
            ratio = whole[figure] / (reading[figure] + forward[figure])
            faster = times["torch"][length]["decision"]["p50"] / whole["p50"]
            lines.append(
                f"| {length} | {backend} | {whole['p50']:.2f} ({whole['least']:.2f} to {whole['most']:.2f}) | "
                f"{whole['p95']:.2f} | {whole['p99']:.2f} | {reading['p50']:.2f} | {forward['p50']:.2f} | "
                f"{rest['p50']:.2f} | {ratio:.2f} | {faster:.1f} |"
            )
    lines += [
        "",
        "| backend | cold start | import | load | first decision | resident MiB |",
        "|---|---|---|---|---|---|",
    ]
    for backend, each in figures["starts"].items():
        cells = " | ".join(f"{each[key]:.0f}" for key in ("cold", "import", "load", "first", "resident_mib"))
        lines.append(f"| {backend} | {cells} |")
    return "\n".join(lines)


def main(args: Sequence[str] | None = None) -> int:
    """Print the figures; 0 when done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", default=str(REPOSITORY / "checkpoints" / "routemix"))
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
    parser.add_argument("--texts", help=argparse.SUPPRESS)
    options = parser.parse_args(args)
    if options.worker:
        work(options.checkpoint, options.worker, options.lengths, options.processors, options.texts)
        return 0
    figures = measure(options)
    print(json.dumps(figures, indent=1) if options.json else markdown(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
