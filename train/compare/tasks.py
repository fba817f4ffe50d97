"""Baseline predictions in a comparison: fit on one split of one pool, predict its test and validation rows.

A split is a part of a regime. No baseline sees an outcome of a test row. Axes: N queries of the folder, B queries of a
pool, M candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from router.encoding.torch_encoder import QueryEncoder
from router.evaluation.metrics import Array
from router.evaluation.pool_report import reference_models
from router.network.taxonomy import RANK_DECAY
from train.baselines.closed_form import predicted_labels
from train.baselines.closed_form_router import annotated_weights
from train.baselines.cost import AnswerLengths
from train.baselines.methods import METHODS
from train.baselines.task import Outcomes, Queries, Task
from train.compare.predictions import CellPredictions, Index
from train.compare.regimes import Regime
from train.compare.workplace import Workplace
from train.data.training_data import taxonomy_of


@lru_cache(maxsize=1)
def queries_of(place: Workplace, regime: Regime, part: str, seed: int) -> Queries:
    """All N queries of the folder as baselines read them; consecutive pools of one part share them.

    Label axes and predicted labels come from the training rows' annotations; without any, predicted labels are NaN.
    """
    train, dataset = np.flatnonzero(place.rows(regime, part, seed).train), place.dataset
    phrases = QueryEncoder.from_pretrained(place.settings.encoder)
    taxonomy = taxonomy_of(dataset, train, phrases)
    llm = np.full((len(dataset.queries), len(taxonomy.axes)), np.nan)
    for row, weights in annotated_weights(dataset, taxonomy, RANK_DECAY).items():
        llm[row] = weights
    predicted = np.full_like(llm, np.nan)
    if not np.isnan(llm[train]).all():
        predicted = predicted_labels(place.embedding[train], llm[train], place.embedding)
    benchmark, category = (dataset.queries[name].to_numpy(str) for name in ("benchmark", "category"))
    named = np.array([f"{b}/{c}" for b, c in zip(benchmark, category, strict=True)])
    return Queries(place.embedding, dataset.input_tokens, benchmark, named, llm, predicted)


def expected_costs(place: Workplace, pool: str, train: Index, asked: Index) -> Array:
    """Predicted costs (B, M) in USD of the queries at `asked`, with answer lengths learned from training rows."""
    dataset, candidates = place.dataset, place.pools[pool].candidates
    columns = dataset.columns(tuple(c.system for c in candidates if c.system is not None))
    tokens = np.where(dataset.measured, dataset.output_tokens, np.nan)[train][:, columns]
    lengths = AnswerLengths().fit(place.embedding[train], tokens).predict(place.embedding[asked])
    price_in = np.array([c.facts.input_usd_per_mtok for c in candidates], np.float64)
    price_out = np.array([c.facts.output_usd_per_mtok for c in candidates], np.float64)
    return (dataset.input_tokens[asked][:, None] * price_in + lengths * price_out) / 1e6


def baseline_predictions(
    place: Workplace, pool: str, regime: Regime, part: str, draw: int, wanted: list[tuple[str, int]]
) -> Iterator[CellPredictions]:
    """Predictions of each wanted (method, seed) for the pool's test and validation rows, in the order of `wanted`."""
    outcomes, rows = place.outcomes[pool], place.rows(regime, part, draw)
    queries = queries_of(place, regime, part, draw)
    train, val, test = (outcomes.take(mask) for mask in (rows.train, rows.val, rows.test))
    cost = expected_costs(place, pool, train.rows, np.concatenate([test.rows, val.rows]))
    test_cost, val_cost = cost[: len(test.rows)], cost[len(test.rows) :]
    task = Task(
        queries.take(train.rows),
        Outcomes(train.score, train.realised_usd),
        queries.take(val.rows),
        Outcomes(val.score, val.realised_usd),
        val_cost,
        *reference_models(train, place.pools[pool]),
    )
    for method, seed in wanted:
        baseline = METHODS[method]()
        baseline.fit(task, seed)
        yield CellPredictions(
            test.rows,
            np.asarray(baseline.predict(queries.take(test.rows)), np.float64),
            test_cost,
            val.rows,
            np.asarray(baseline.predict(task.val), np.float64),
            val_cost,
        )
