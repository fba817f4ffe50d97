"""From a trained network to a released checkpoint folder: calibration, lengths, the dials' scale and tables; save.

The last step of `fit`; reads the best epoch's weights, fits what validation rows alone may decide, and writes one
folder. Axes: V validation rows, S systems.
"""

from __future__ import annotations

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
from router.pools.pool import Pool
from train.data.training_data import World
from train.export.benchmarks import benchmark_scores
from train.export.calibration import calibrate
from train.fit.validation import Collected, judge_pools, train_outcomes, unique


@torch.no_grad()
def fit_calibration(table: ProfileTable, collected: Collected, world: World) -> Collected:
    """Fold per-system affine maps, fitted on the collected validation rows, into `table`; those rows, calibrated."""
    collected = unique(collected)
    tensors = {name: world.tensors[name][collected.row] for name in ("score", "seen")}
    scores = torch.where(tensors["seen"], tensors["score"], torch.nan).double().numpy()
    scale, shift = calibrate(collected.logits.double().numpy(), scores, world.protocol.numpy())
    table.calibrate(torch.from_numpy(scale).to(table.bias), torch.from_numpy(shift).to(table.bias))
    return collected._replace(logits=collected.logits * torch.from_numpy(scale) + torch.from_numpy(shift))


@torch.no_grad()
def fit_lengths(table: ProfileTable, collected: Collected, world: World) -> None:
    """Scale each system's answer length so that predicted and measured means agree on the collected training rows.

    The length head predicts a mean of logs; costs need the mean (Duan's smearing estimate, one factor per system).
    """
    collected = unique(collected)
    measured = world.tensors["measured"][collected.row]
    tokens = world.tensors["tokens"][collected.row] * measured
    expected = table.output_tokens(collected.log_length.to(table.bias)).cpu() * measured
    factor = tokens.sum(0) / expected.sum(0).clamp_min(1e-9)
    table.log_tokens.add_(torch.where(measured.any(0), factor, 1.0).clamp(0.1, 10).log().to(table.bias))


def with_cost_ranges(world: World) -> dict[str, Pool]:
    """The pools with the scale of their dial: realised mean cost of the best single model minus the cheapest's.

    Where models answer stays in the pool files: no checkpoint may say so.
    """
    pools = {}
    for name, pool in world.pools.items():
        outcomes = train_outcomes(world, pool)
        best, cheapest = reference_models(outcomes, pool)
        mean = outcomes.realised_usd.mean(axis=0)
        span = float(mean[best] - mean[cheapest]) or float(np.ptp(mean)) or 1.0
        members = tuple(replace(candidate, upstream=None) for candidate in pool.candidates)
        pools[name] = Pool(pool.name, members, span)
    return pools


def fit_dial_tables(
    table: ProfileTable, calibrated: Collected, world: World, pools: dict[str, Pool]
) -> dict[str, DialTable]:
    """What each dial of each of `pools` costs and gives on the collected validation rows, their logits calibrated."""
    tables = {}
    for name, judged in judge_pools(calibrated, table, world).items():
        span = pools[name].cost_range_usd
        assert span is not None, "with_cost_ranges sets it"
        tables[name] = measure_dials(judged.quality, judged.cost, judged.score, pools[name], span)
    return tables


def export_checkpoint(
    network: RouterNetwork,
    encoder: QueryEncoder,
    world: World,
    validation: Collected,
    training: Collected,
    folder: Path,
    card: str,
    metadata: dict[str, Any],
) -> None:
    """Calibrate a copy of `network`'s profiles on `validation`, fit lengths on `training`, and save the folder."""
    final = RouterNetwork(network.size, network.profiles.protocol)
    final.load_state_dict(network.state_dict())
    fit_lengths(final.profiles, training, world)
    calibrated = fit_calibration(final.profiles, validation, world)
    pools = with_cost_ranges(world)
    facts = {c.facts.id: c.facts for pool in pools.values() for c in pool.candidates}
    models = {s.model: facts.get(s.model, world.facts(s.model)) for s in world.systems}
    save_checkpoint(
        Checkpoint(
            encoder=encoder,
            network=final.eval(),
            taxonomy=world.taxonomy,
            systems=world.systems,
            protocols=world.protocols,
            models=models,
            pools=pools,
            default_pool=next(iter(pools)),
            card=card,
            training=metadata,
            dial_tables=fit_dial_tables(final.profiles, calibrated, world, pools),
            benchmarks=benchmark_scores(world.dataset, world.train_rows, world.systems),
        ),
        folder,
    )
