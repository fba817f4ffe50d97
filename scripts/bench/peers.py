"""Latency of one decision beside other ways to route on the same encoder: `python scripts/bench/peers.py`.

In turns, in one run: tokenisation and the bare encoder (the limit), this router, k nearest neighbours among 20,000
training vectors (scikit-learn), RouteLLM-style matrix factorisation, and nearest-utterance routing (the package
semantic-router, with --semantic-router PYTHON of an environment of its own that has it and this project's base
dependencies). All read texts by the checkpoint's own encoder. Choices are not compared: neighbours and factors are
random, since their values cost no time. Prints Markdown, or JSON with --json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from timing import CHECKPOINT, Worker, in_turns, seconds, table, text_of

OURS, SEMANTIC = "this router", "semantic-router"
LIMIT = "tokenise and encode"
LENGTHS = (8, 32, 128)  # tokens, special ones included
NEIGHBOURS, TRAINING, MODELS, RANK, UTTERANCES = 100, 20_000, 27, 32, 20


def ways(checkpoint: str) -> dict[str, Callable[[str], object]]:
    """Ways measured in this process by name, each a function of a text."""
    from sklearn.neighbors import KNeighborsRegressor

    from router import Router
    from router.encoding.onnx_encoder import OnnxEncoder

    router = Router.from_pretrained(checkpoint, backend="onnx")
    encoder, random = router.encoder, np.random.default_rng(0)
    assert isinstance(encoder, OnnxEncoder)
    stored = random.normal(size=(TRAINING, encoder.dimension)).astype(np.float32)
    knn = KNeighborsRegressor(NEIGHBOURS, metric="cosine").fit(stored, random.random((TRAINING, MODELS)))
    project = random.normal(size=(encoder.dimension, RANK)).astype(np.float32)
    factors = random.normal(size=(RANK, MODELS)).astype(np.float32)
    return {
        LIMIT: lambda text: encoder.forward(*encoder.tokenizer.pad(encoder.tokenize([text]))),
        OURS: router.route,
        "kNN": lambda text: knn.predict(encoder.encode([text])).argmax(),
        "matrix factorisation": lambda text: (encoder.encode([text]) @ project @ factors).argmax(),
    }


def semantic(checkpoint: str) -> dict[str, Callable[[str], object]]:
    """Nearest-utterance routing, importable only in the environment of --semantic-router."""
    from semantic_router import IndexedRouter, Route
    from semantic_router.encoders import DenseEncoder

    from router.encoding.onnx_encoder import OnnxEncoder

    folder = Path(checkpoint)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))["encoder"]
    ours = OnnxEncoder.from_pretrained(folder / "encoder", **settings)

    class Encoder(DenseEncoder):
        name: str = "ours"

        def __call__(self, docs: list[Any]) -> list[list[float]]:
            return ours.encode(docs).tolist()

    words = [f"question {number}" for number in range(UTTERANCES)]
    routes = [Route(name=f"model-{m}", utterances=[f"{word} for model {m}" for word in words]) for m in range(MODELS)]
    return {SEMANTIC: IndexedRouter(encoder=Encoder(), routes=routes)}


def work(made: dict[str, Callable[[str], object]], lengths: Sequence[int]) -> None:
    """Work of one process: print the milliseconds of a round for each number of repeats on stdin."""
    texts = {length: text_of(length) for length in lengths}
    for run in made.values():
        for text in texts.values():
            run(text)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        times: dict[str, dict[str, list[float]]] = {name: {} for name in made}
        for length, text in texts.items():
            for name, run in made.items():
                times[name][str(length)] = [1e3 * seconds(partial(run, text)) for _ in range(int(line))]
        print(json.dumps(times), flush=True)


def measure(options: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Quantiles of milliseconds by way and length; processes take turns."""
    pythons = {"ours": sys.executable} | ({"semantic": options.semantic_router} if options.semantic_router else {})
    lengths = list(map(str, options.lengths))
    workers = {
        name: Worker([python, __file__, options.checkpoint, "--worker", name, "--lengths", *lengths])
        for name, python in pythons.items()
    }
    try:
        for worker in workers.values():
            worker.read()
        found = in_turns(workers, options.rounds, options.repeats)
    finally:
        for worker in workers.values():
            worker.close()
    return {way: by for ways in found.values() for way, by in ways.items()}


def markdown(figures: dict[str, dict[str, dict[str, float]]], lengths: Sequence[int]) -> str:
    """Table with a row for each way: milliseconds and the ratio to the limit, at each length."""
    rows = []
    for name, by in figures.items():
        cells = [name]
        for each, limit in ((by[str(length)], figures[LIMIT][str(length)]) for length in lengths):
            cells.append(f"{each['p50']:.2f} ({each['least']:.2f} to {each['most']:.2f})")
            cells.append(f"{each['p50'] / limit['p50']:.2f}")
        rows.append(cells)
    return table(["way", *(head for n in lengths for head in (f"{n} tokens, ms (rounds)", "ratio"))], rows)


def main(args: Sequence[str] | None = None) -> int:
    """Print the figures; 0 when done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", default=CHECKPOINT)
    parser.add_argument("--semantic-router", metavar="PYTHON", help="interpreter of an environment that has it")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="tokens (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="after one that warms up (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20, help="in each round (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON, not Markdown")
    parser.add_argument("--worker", choices=("ours", "semantic"), help=argparse.SUPPRESS)
    options = parser.parse_args(args)
    if options.worker:
        work({"ours": ways, "semantic": semantic}[options.worker](options.checkpoint), options.lengths)
        return 0
    figures = measure(options)
    print(json.dumps(figures, indent=1) if options.json else markdown(figures, options.lengths))
    return 0


if __name__ == "__main__":
    sys.exit(main())
