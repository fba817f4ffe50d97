"""Data of a comparison, shared by its workers: data folder, pools and their outcomes, read and checked once.

Knows no method. Axes: N queries of the folder, E embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from router.encoding.torch_encoder import QueryEncoder
from router.errors import PoolError, UsageError
from router.evaluation.dataset import Dataset, read_dataset
from router.evaluation.metrics import Array
from router.evaluation.pool_report import PoolOutcomes, pool_outcomes
from router.pools.pool import Pool, read_pool
from train.compare.members import remaining, system_effects
from train.compare.predictions import Index
from train.compare.regimes import Mask, Regime, Rows, regimes, rows_of
from train.compare.settings import Settings
from train.data.embedding_cache import cached_embeddings
from train.data_folders.synthetic.command import write_planted


@dataclass(frozen=True, eq=False)
class Workplace:
    """One comparison's opened data; compared by identity."""

    settings: Settings
    dataset: Dataset
    pools: Mapping[str, Pool]  # in the settings' order
    files: Mapping[str, str]  # pool file by name
    outcomes: Mapping[str, PoolOutcomes]
    regimes: tuple[Regime, ...]

    @property
    def out(self) -> Path:
        """Folder of everything the comparison writes."""
        return Path(self.settings.out)

    @cached_property
    def texts(self) -> list[str]:
        """All N query texts."""
        return self.dataset.queries["text"].tolist()

    @cached_property
    def embedding(self) -> Array:
        """Frozen vectors (N, E) of the baselines."""
        settings = self.settings
        encoder = QueryEncoder.from_pretrained(settings.encoder, settings.max_tokens, layers=settings.layers)
        return cached_embeddings(encoder, self.texts, Path(settings.cache)).double().numpy()

    def rows(self, regime: Regime, part: str, seed: int) -> Rows:
        """Training, validation and test rows of a part, see `rows_of`."""
        return rows_of(self.dataset, regime, part, seed)

    def members(self, regime: Regime, part: str, pool: str) -> tuple[Pool, PoolOutcomes]:
        """A pool and the outcomes of its members; in leave-one-out those that remain, with holes (`remaining`)."""
        if regime.kind == "leave-one-out":
            return remaining(self.dataset, self.pools[pool], part)
        return self.pools[pool], self.outcomes[pool]

    def pools_under(self, regime: Regime, part: str) -> list[str]:
        """Pools of two members or more that have training, validation and complete test rows in this part."""
        rows, found = self.rows(regime, part, 0), []
        for name in self.pools:
            pool, outcomes = self.members(regime, part, name)
            seen = all(mask[outcomes.rows].any() for mask in (rows.yardstick, rows.val))
            if len(pool.candidates) > 1 and seen and len(outcomes.take(rows.test).complete().rows):
                found.append(name)
        return found

    def columns(self, pool: Pool) -> Index:
        """Columns (M,) of a pool's members among the folder's systems."""
        return self.dataset.columns(tuple(c.system for c in pool.candidates if c.system is not None))

    def cost_usd(self, pool: Pool, rows: Index, answer_tokens: Array | float) -> Array:
        """Costs (B, M) in USD of the queries at `rows` with answers of (B, M) tokens; NaN for a model without price."""
        facts = [candidate.facts for candidate in pool.candidates]
        price_in = np.array([each.input_usd_per_mtok for each in facts], np.float64)
        price_out = np.array([each.output_usd_per_mtok for each in facts], np.float64)
        return (self.dataset.input_tokens[rows][:, None] * price_in + answer_tokens * price_out) / 1e6

    def at_equal_lengths(self, pool: Pool, outcomes: PoolOutcomes) -> PoolOutcomes | None:
        """`outcomes` at the costs of answers that all have the pool's mean length; None where lengths or prices lack.

        Under these costs no model is cheap because the data holds its answers without their reasoning.
        """
        tokens = self.dataset.output_tokens[outcomes.rows][:, self.columns(pool)]
        known = tokens[~np.isnan(tokens)]
        cost = self.cost_usd(pool, outcomes.rows, float(known.mean(dtype=np.float64)) if len(known) else np.nan)
        return None if np.isnan(cost).any() else replace(outcomes, realised_usd=cost)

    def references(self, regime: Regime, part: str, pool: str, training: Mask) -> tuple[int, int, float]:
        """Columns of the best single and the cheapest model on training rows (N,), and their difference in mean cost.

        Where scores are missing, means over different queries are made comparable by an additive fit.
        """
        outcomes = self.members(regime, part, pool)[1].take(training)
        score, cost = (system_effects(each, pool) for each in (outcomes.score, outcomes.realised_usd))
        best, cheapest = int(score.argmax()), int(cost.argmin())
        return best, cheapest, float(cost[best] - cost[cheapest])


def open_workplace(settings: Settings) -> Workplace:
    """The data of a comparison; planted data is written first where asked for. DataError, PoolError, UsageError."""
    if settings.planted_queries and settings.data and not (Path(settings.data) / "queries.parquet").is_file():
        write_planted(settings.data, settings.planted_queries)
    dataset = read_dataset(settings.data)
    read = [(file, read_pool(file, dataset.systems)) for file in settings.pools]
    pools, files = {pool.name: pool for _, pool in read}, {pool.name: file for file, pool in read}
    if len(pools) < len(read):
        raise PoolError(f"pools: two of {', '.join(settings.pools)} have the same name; rename one")
    asked = regimes(
        dataset, settings.regimes, settings.rotations, settings.benchmarks, settings.shares, settings.judged_folds
    )
    outcomes = {name: pool_outcomes(dataset, pool) for name, pool in pools.items()}
    place = Workplace(settings, dataset, pools, files, outcomes, tuple(asked))
    kept = []
    for regime in asked:
        parts = tuple(part for part in regime.parts if place.pools_under(regime, part))
        if not parts:
            raise UsageError(
                f"regime {regime.name}: no pool has queries to train, validate and test on; name other pools or "
                "benchmarks"
            )
        kept.append(replace(regime, parts=parts))
    return replace(place, regimes=tuple(kept))
