"""Checkpoint export: calibration, answer lengths, scale and tables of the dial; then the folder is saved.

The last step of `fit`, with the best epoch's weights. Validation rows alone decide the calibration and the dial tables.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.storage import save_checkpoint
from router.encoding.torch_encoder import QueryEncoder
from router.evaluation.pool_report import reference_models
from router.network.torch_network import ProfileTable, RouterNetwork
from router.policy.goals import DialTable, measure_dials
from router.pools.models import ModelFacts
from router.pools.pool import Pool
from train.data.training_data import TrainingData
from train.export.benchmarks import benchmark_scores
from train.export.calibration import calibrate
from train.export.lengths import fit_lengths
from train.fit.validation import Collected, judge_pools, train_outcomes, unique


@torch.no_grad()
def fit_calibration(table: ProfileTable, collected: Collected, data: TrainingData) -> Collected:
    """The collected validation rows with calibrated logits; `table` gets the per-system affine maps fitted on them."""
    collected = unique(collected)
    tensors = {name: data.tensors[name][collected.row] for name in ("score", "seen")}
    scores = torch.where(tensors["seen"], tensors["score"], torch.nan).double().numpy()
    scale, shift = calibrate(collected.logits.double().numpy(), scores, data.protocol.numpy())
    table.calibrate(torch.from_numpy(scale).to(table.bias), torch.from_numpy(shift).to(table.bias))
    return collected._replace(logits=collected.logits * torch.from_numpy(scale) + torch.from_numpy(shift))


def with_cost_ranges(data: TrainingData) -> dict[str, Pool]:
    """The pools with the scale of their dial: realised mean cost of the best single model minus the cheapest's.

    A pool file that states the scale keeps it. Upstream addresses are removed: they belong to pool files, not to
    checkpoints.
    """
    pools = {}
    for name, pool in data.pools.items():
        outcomes = train_outcomes(data, pool)
        best, cheapest = reference_models(outcomes, pool)
        mean = outcomes.realised_usd.mean(axis=0)
        span = pool.cost_range_usd or float(mean[best] - mean[cheapest]) or float(np.ptp(mean)) or 1.0
        members = tuple(replace(candidate, upstream=None) for candidate in pool.candidates)
        pools[name] = Pool(pool.name, members, span)
    return pools


def fit_dial_tables(
    table: ProfileTable, calibrated: Collected, data: TrainingData, pools: dict[str, Pool]
) -> dict[str, DialTable]:
    """Cost and quality of each dial by pool, on the collected validation rows with calibrated logits."""
    tables = {}
    for name, judged in judge_pools(calibrated, table, data).items():
        span = pools[name].cost_range_usd
        assert span is not None, "with_cost_ranges sets it"
        tables[name] = measure_dials(judged.quality, judged.cost, judged.score, pools[name], span)
    return tables


def export_checkpoint(
    network: RouterNetwork,
    encoder: QueryEncoder,
    data: TrainingData,
    validation: Collected,
    training: Collected,
    folder: Path,
    card: str,
    metadata: dict[str, Any],
    packed: bool = False,
) -> None:
    """Calibrate a copy of `network`'s profiles on `validation`, fit lengths on `training`, and save the folder.

    `packed`: see `save_checkpoint`.
    """
    final = RouterNetwork(network.size, network.profiles.protocol)
    final.load_state_dict(network.state_dict())
    fit_lengths(final.profiles, training, data)
    calibrated = fit_calibration(final.profiles, validation, data)
    pools = with_cost_ranges(data)
    facts = {c.facts.id: c.facts for pool in pools.values() for c in pool.candidates}
    models = {s.model: facts.get(s.model, data.dataset.models.get(s.model, ModelFacts(s.model))) for s in data.systems}
    save_checkpoint(
        Checkpoint(
            encoder=encoder,
            network=final.eval(),
            taxonomy=data.taxonomy,
            systems=data.systems,
            protocols=data.protocols,
            models=models,
            pools=pools,
            default_pool=next(iter(pools)),
            card=card,
            training=metadata,
            dial_tables=fit_dial_tables(final.profiles, calibrated, data, pools),
            benchmarks=benchmark_scores(data.dataset, data.train_rows, data.systems),
        ),
        folder,
        packed=packed,
    )
