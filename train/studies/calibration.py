"""Calibration methods compared on a checkpoint: `python -m train calibration CHECKPOINT`.

Probabilities as they are, with affine maps fitted on top (as `fit` does at export), and with an isotonic map per
system, an ablation: it is more flexible but does not fold into a profile. Maps are fitted on some folds, judged on
others.
Axes: B queries, M candidates, G groups of equally many.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from router.arrays import sigmoid
from router.evaluation import metrics
from router.evaluation.metrics import Array, brier, expected_calibration_error
from train.export.calibration import calibrate
from train.studies.arguments import apart, folds, router_and_data, study_parser
from train.studies.held_out import HeldOut, held_out

METHODS = ("as it is", "affine", "isotonic")
GROUPS = 10


def calibrated(method: str, fit: HeldOut, judged: HeldOut) -> Array:
    """Probabilities (B, M) of `judged` by one of METHODS, fitted on `fit`."""
    if method == "as it is":
        return judged.quality
    if method == "affine":
        one_protocol = np.zeros(fit.score.shape[1], np.int64)
        scale, shift = calibrate(fit.logits, fit.score, one_protocol)
        return sigmoid(scale * judged.logits + shift)
    from sklearn.isotonic import IsotonicRegression

    columns = []
    for column in range(fit.score.shape[1]):
        curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        curve.fit(fit.logits[:, column], fit.score[:, column])
        columns.append(curve.predict(judged.logits[:, column]))
    return np.stack(columns, axis=1)


def figures(quality: Array, judged: HeldOut) -> dict[str, Any]:
    """ECE and Brier score of the chosen model at dial 0 and of all cells, and the margins of routing by `quality`."""
    report = metrics.evaluate(quality, judged.cost, judged.score, judged.realised, judged.best_single, judged.cheapest)
    cells, scores = quality.ravel(), judged.score.ravel()
    base_rates = np.broadcast_to(judged.score.mean(axis=0), quality.shape).ravel()
    return {
        "chosen": {"ece": report.ece, "brier": report.brier, "brier_constant": report.brier_constant},
        "all_cells": {
            "ece": expected_calibration_error(cells, scores),
            "brier": brier(cells, scores),
            "brier_constant": brier(base_rates, scores),
        },
        "quality_margin": report.quality - report.best_single,
        "aiq_margin": report.aiq - report.aiq_zero,
    }


def reliability(predicted: Array, observed: Array) -> tuple[Array, Array, Array]:
    """Mean prediction, mean score and its standard error, (G,) each, in groups of equally many predictions (B,).

    >>> [part.tolist() for part in reliability(np.array([0.2, 0.9, 0.7, 0.4]), np.array([0.0, 1.0, 1.0, 0.0]))[:2]]
    [[0.30000000000000004, 0.8], [0.0, 1.0]]
    """
    order = np.argsort(predicted, kind="stable")
    parts = np.array_split(order, min(GROUPS, max(1, len(order) // 2)))
    means = [np.array([values[part].mean() for part in parts]) for values in (predicted, observed)]
    return means[0], means[1], np.array([observed[part].std() / len(part) ** 0.5 for part in parts])


def draw(curves: Mapping[str, Mapping[str, tuple[Array, Array]]], file: Path) -> Path:
    """Reliability diagrams, written to `file`: a panel for each title of `curves`, a line for each method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(curves), 3.8), layout="constrained")
    for panel, (title, lines) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(1, len(curves), panel)
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        for name, pair in lines.items():
            predicted, observed, error = reliability(*pair)
            axes.errorbar(predicted, observed, error, marker=".", capsize=2, linewidth=1, label=name)
        axes.set(title=title, xlabel="predicted", ylabel="mean score", xlim=(0, 1), ylim=(0, 1))
        axes.legend(fontsize=7)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    return file


def study(pool: str, fit: HeldOut, judged: HeldOut, out: Path) -> dict[str, Any]:
    """Figures of each method for one pool, whose diagram is written to `out`."""
    rows, report = np.arange(len(judged.score)), {}
    chosen: dict[str, tuple[Array, Array]] = {}
    cells: dict[str, tuple[Array, Array]] = {}
    for method in METHODS:
        quality = calibrated(method, fit, judged)
        report[method] = figures(quality, judged)
        best = metrics.choose(quality, judged.cost, 0.0)
        chosen[method] = quality[rows, best], judged.score[rows, best]
        cells[method] = quality.ravel(), judged.score.ravel()
    titles = {f"{pool}: the chosen model, dial 0": chosen, f"{pool}: all models": cells}
    diagram = draw(titles, out / f"reliability-{pool}.png")
    return {"n_fit": len(fit.score), "n": len(judged.score), **report, "diagram": str(diagram)}


def main(args: list[str] | None = None) -> int:
    """Print one JSON object, by pool, and write the diagrams; 0 when done."""
    parser = study_parser(
        "calibration",
        "Compares ways to calibrate a checkpoint's probabilities: `python -m train calibration CHECKPOINT`.",
    )
    parser.add_argument("--pools", nargs="+", help="pool names (default: all of the checkpoint)")
    parser.add_argument("--fit-folds", type=folds, default="7", help="folds fitted on (default %(default)s)")
    parser.add_argument("--folds", type=folds, default="8,9", help="folds judged (default %(default)s)")
    parser.add_argument("--out", type=Path, default="runs/calibration", help="folder of diagrams")
    parser.add_argument("--cache", type=Path, default="runs/cache", help="folder of cached embeddings")
    options = parser.parse_args(args)
    sides = apart(options.fit_folds, options.folds)
    router, dataset = router_and_data(options)
    report = {}
    for name in options.pools or router.pools:
        pool = router.pool(name)
        fit, judged = (held_out(router, dataset, pool, side, options.cache) for side in sides)
        report[pool.name] = study(pool.name, fit, judged, options.out)
    print(json.dumps(report, indent=1))
    return 0
