"""Plots of a run: cost against quality per pool, and the profiles as a heat map."""

from collections.abc import Mapping
from pathlib import Path

from router.evaluation.metrics import Hull
from router.network.torch_network import ProfileTable
from train.data.training_data import TrainingData

MOST_SYSTEMS, MOST_AXES = 40, 40


def cost_quality(curves: Mapping[str, tuple[Hull, Hull]], file: Path) -> Path:
    """`file`, with the cost-quality hulls of the router and of the single models (Zero router), one panel a pool."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * max(1, len(curves)), 3.6), layout="constrained")
    for panel, (name, (ours, zero)) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(1, len(curves), panel)
        for hull, label, style in ((zero, "single models (Zero router)", "--"), (ours, "router", "-")):
            axes.plot(1000 * hull.cost, hull.quality, style, marker=".", label=label)
        axes.set(title=name, xlabel="cost, USD per 1,000 queries", ylabel="mean score", xscale="log")
        axes.legend(fontsize=7)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    return file


def profile_heat_map(table: ProfileTable, data: TrainingData, file: Path) -> Path:
    """`file`, with the profile weights of the best systems on the axes that vary most, in logits around axis means."""
    from matplotlib.figure import Figure

    weight = table.weight.detach().cpu()[:, : len(data.taxonomy.axes)]
    centred = weight - weight.mean(0)
    systems = table.mean_score.cpu().argsort(descending=True)[:MOST_SYSTEMS]
    axes_kept = centred.std(0, unbiased=False).argsort(descending=True)[:MOST_AXES].sort().values
    figure = Figure(figsize=(0.24 * len(axes_kept) + 4, 0.2 * len(systems) + 2.5), layout="constrained")
    axes = figure.add_subplot()
    shown = centred[systems][:, axes_kept]
    limit = float(shown.abs().max()) or 1.0
    image = axes.imshow(shown, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(axes_kept)), [data.taxonomy.axes[i] for i in axes_kept], rotation=90, fontsize=6)
    axes.set_yticks(range(len(systems)), [data.systems[i].id for i in systems], fontsize=6)
    figure.colorbar(image, label="logits above the axis' mean")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    return file
