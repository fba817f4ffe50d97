"""Large generated pools, of a thousand to a million models, for benchmarks of scale.

Bases are drawn from the distribution of one protocol's learned rows, lengths and prices together, so that strong models
tend to be dear here as well. Adapters and fine-tunes scatter around their base as siblings of one learned family do.
All drawn rows lie in the span of the learned ones. Axes: M models, N learned rows, J = D + 4 joint columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from os.path import commonprefix

import numpy as np
from numpy.typing import NDArray

from router.arrays import concat, host
from router.checkpoint.added_models import AddedModels
from router.checkpoint.benchmark_scores import BenchmarkScores
from router.checkpoint.checkpoint import Checkpoint
from router.errors import UsageError
from router.network.onnx_network import PROFILES, OnnxNetwork
from router.network.torch_network import RouterNetwork
from router.network.vectors import ARRAYS
from router.policy.candidates import gather_candidates
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool

LARGE = "large"  # name of a drawn pool
ADAPTERS_PER_BASE = 30  # on average; how many a base has is log-normal, few have most
SPREAD_OF_FAMILY_SIZES = 1.0  # standard deviation of the log of it
LEAST_SHARED_NAME = 5  # leading letters that two siblings share at least
BEYOND_KNOWN_PRICES = 4.0  # factor by which a drawn price may lie outside the learned models' range

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Distribution:
    """Joint distribution of a protocol's priced models: profile, bias, log of length and of both prices."""

    mean: Array  # (J,)
    between: Array  # (N, J) rows whose random normal combinations vary as models do
    within: Array  # (N', J) the same for siblings of one family
    least: Array  # (2,) the log of the lowest prices drawn
    most: Array  # (2,)

    @classmethod
    def of(cls, rows: Array, names: list[str]) -> Distribution:
        """Distribution of joint rows (N, J) with the models' names; UsageError for fewer than two models."""
        if len(rows) < 2:
            raise UsageError(f"a pool is drawn from the differences of at least 2 priced models, got {len(rows)}")
        mean = rows.mean(axis=0)
        pairs = siblings(names)
        apart = np.array([rows[a] - rows[b] for a, b in pairs]).reshape(len(pairs), rows.shape[1])
        margin = np.log(BEYOND_KNOWN_PRICES)
        return cls(
            mean,
            (rows - mean) / np.sqrt(len(rows) - 1),
            apart / np.sqrt(2 * max(len(pairs), 1)),  # a difference of two has twice the variance of one
            rows[:, -2:].min(axis=0) - margin,
            rows[:, -2:].max(axis=0) + margin,
        )

    def draw(self, size: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Joint rows (M, J) and the base (M,) of each; the first row of a base is the base itself."""
        random = np.random.default_rng(seed)
        between, within = self.between.astype(np.float32), self.within.astype(np.float32)
        bases = max(1, round(size / (1 + ADAPTERS_PER_BASE)))
        share = random.lognormal(0.0, SPREAD_OF_FAMILY_SIZES, bases)
        family = np.concatenate([np.arange(bases), random.choice(bases, size - bases, p=share / share.sum())])
        centre = random.standard_normal((bases, len(between)), np.float32) @ between + self.mean.astype(np.float32)
        rows = centre[family]
        rows[bases:] += random.standard_normal((size - bases, len(within)), np.float32) @ within
        rows[:, -2:] = rows[:, -2:].clip(self.least, self.most)
        order = random.permutation(size)  # a pool's order says nothing of its families
        return rows[order], family[order]


def siblings(names: list[str]) -> list[tuple[int, int]]:
    """Pairs of models, each with the one whose name has the longest start in common with its own.

    >>> siblings(["gpt-4o-may", "gpt-4o-august", "grok-2"])
    [(0, 1)]
    """
    pairs = set()
    for one, name in enumerate(names):
        shared = [len(commonprefix([name, other])) if n != one else 0 for n, other in enumerate(names)]  # noqa: RUF071
        other = int(np.argmax(shared))
        if shared[other] >= LEAST_SHARED_NAME:
            pairs.add((min(one, other), max(one, other)))
    return sorted(pairs)


def learned_distribution(checkpoint: Checkpoint, protocol: str) -> Distribution:
    """The distribution of the checkpoint's priced models under `protocol`; UsageError where there are too few."""
    table = checkpoint.network.learned
    priced = [
        row
        for row, system in enumerate(checkpoint.systems)
        if system.protocol == protocol
        and system.model in checkpoint.models
        and _prices(checkpoint, system).all()
        and table.log_tokens[row] > 0  # below a token nothing was learned of its answers' length
    ]
    numbers = host(concat([table.matrix(), table.bias[:, None], table.log_tokens[:, None]], axis=1))
    prices = np.array([_prices(checkpoint, checkpoint.systems[row]) for row in priced]).reshape(-1, 2)
    rows = np.concatenate([numbers[priced].astype(np.float64), np.log(prices)], axis=1)
    return Distribution.of(rows, [checkpoint.systems[row].model for row in priced])


def _prices(checkpoint: Checkpoint, system: System) -> Array:
    facts = checkpoint.models[system.model]
    return np.array([facts.input_usd_per_mtok or 0.0, facts.output_usd_per_mtok or 0.0])


def large_checkpoint(checkpoint: Checkpoint, size: int, pool: str | None = None, seed: int = 0) -> Checkpoint:
    """The checkpoint with `size` drawn models, priced and profiled like those of one of its pools, in place of its own.

    They are `base<number>-<number>`, the first the same where they share a base, and all members of the pool `large`,
    whose dial has the scale of `pool` (the default pool for None). The encoder is shared with `checkpoint`, the heads
    are equal.
    """
    source = checkpoint.pools[pool or checkpoint.default_pool]
    protocols = [each.system.protocol for each in source.candidates if each.system]
    if len(set(protocols)) != 1:
        raise UsageError(f"a pool of one protocol is drawn, but {source.name} has {sorted(set(protocols)) or 'none'}")
    drawn, family = learned_distribution(checkpoint, protocols[0]).draw(size, seed)
    column, columns = checkpoint.protocols.index(protocols[0]), checkpoint.network.size.columns
    state = {name: host(each) for name, each in checkpoint.network.state_dict().items()}
    state |= {PROFILES + name: np.zeros(size, np.float32) for name in ARRAYS}
    state |= {
        PROFILES + "protocol": np.full(size, column),
        PROFILES + "weight": drawn[:, :columns].astype(np.float32),
        PROFILES + "slope": -drawn[:, columns + column].astype(np.float32),
        PROFILES + "bias": drawn[:, -4].astype(np.float32),
        PROFILES + "log_tokens": drawn[:, -3].astype(np.float32),
    }
    before, sizes = checkpoint.network, replace(checkpoint.network.size, systems=size)
    network = (
        OnnxNetwork(sizes, state, before.heads)
        if isinstance(before, OnnxNetwork)
        else RouterNetwork.of_state(sizes, state)
    )
    price = np.exp(drawn[:, -2:].astype(float)).tolist()
    facts = [
        ModelFacts(f"base{base}-{row}", input_price, output_price)
        for row, (base, (input_price, output_price)) in enumerate(zip(family.tolist(), price, strict=True))
    ]
    systems = tuple(System(each.id, protocols[0]) for each in facts)
    scale = gather_candidates(source, checkpoint.network.learned, checkpoint.systems, checkpoint.models).cost_range_usd
    members = tuple(Candidate(each, system) for each, system in zip(facts, systems, strict=True))
    return replace(
        checkpoint,
        network=network,
        systems=systems,
        models={each.id: each for each in facts},
        pools={LARGE: Pool(LARGE, members, scale)},
        default_pool=LARGE,
        dial_tables={},
        benchmarks=BenchmarkScores(),
        added_models=AddedModels(),
    )
