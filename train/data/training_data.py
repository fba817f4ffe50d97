"""Training data as dense tensors, with the taxonomy, systems and pools that an exported checkpoint is built from.

Knows no batches and no network. Axes: N queries, S systems, C capabilities, K domains, P protocols.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from router.encoding.torch_encoder import QueryEncoder
from router.evaluation.dataset import Dataset
from router.evaluation.pool_report import mean_filled, readings
from router.network.taxonomy import Taxonomy
from router.pools.models import System
from router.pools.pool import Pool, read_pool
from train.data.options import DataOptions
from train.data.taxonomy import consolidate


@dataclass(frozen=True)
class TrainingData:
    """The data of a run, training and validation rows. All tensors on the CPU."""

    dataset: Dataset
    taxonomy: Taxonomy
    systems: tuple[System, ...]  # S, those with at least one training outcome
    protocols: tuple[str, ...]  # P
    pools: dict[str, Pool]
    train_rows: NDArray[np.intp]
    val_rows: NDArray[np.intp]
    tensors: dict[str, Tensor]  # see `tensors_of`

    @property
    def protocol(self) -> Tensor:
        """(S,) column of each system's protocol."""
        return torch.tensor([self.protocols.index(s.protocol) for s in self.systems])

    @property
    def texts(self) -> list[str]:
        """All N query texts."""
        return self.dataset.queries["text"].tolist()


def build_training_data(
    dataset: Dataset, usable: NDArray[np.bool_], rows: Mapping[str, NDArray[np.intp]], options: DataOptions
) -> TrainingData:
    """The data of a run on `rows["train"]` and `rows["val"]`; PoolError for a member without a training outcome."""
    train_rows, phrases = rows["train"], QueryEncoder.from_pretrained(options.taxonomy_encoder or options.encoder)
    taxonomy = taxonomy_of(dataset, train_rows, phrases, options.merge_cosine, options.minimum_count)
    kept = np.flatnonzero((~np.isnan(dataset.score[train_rows])).any(axis=0))
    systems = tuple(dataset.systems[column] for column in kept)
    pools = {pool.name: pool for pool in (read_pool(Path(file), systems) for file in options.pools)}
    return TrainingData(
        dataset,
        taxonomy,
        systems,
        tuple(sorted({s.protocol for s in systems})),
        pools,
        train_rows,
        rows["val"],
        tensors_of(dataset, taxonomy, kept, usable, train_rows),
    )


def taxonomy_of(
    dataset: Dataset,
    train_rows: NDArray[np.intp],
    encoder: QueryEncoder,
    merge_cosine: float = 0.7,
    minimum_count: int = 10,
) -> Taxonomy:
    """Taxonomy of the LLM's annotations of the training rows, whose domain names `encoder` compares."""
    notes = readings(dataset)
    names = Counter(
        name for row in train_rows.tolist() for name in {name for note in notes.get(row, ()) for name in note.knowledge}
    )
    return consolidate(names, lambda phrases: encoder.encode(phrases).numpy(), merge_cosine, minimum_count)


def tensors_of(
    dataset: Dataset,
    taxonomy: Taxonomy,
    columns: NDArray[np.intp],
    usable: NDArray[np.bool_],
    train_rows: NDArray[np.intp],
) -> dict[str, Tensor]:
    """Tensors of all N rows, from which batches take theirs.

    score (N, S) with 0 for missing, seen (N, S), tokens (N, S) of the answer with 0 for unknown, measured (N, S),
    cost (N, S) in USD at usual answer lengths (NaN without prices), input_tokens (N,), capability (N, C), knowledge
    (N, K), both means over an annotator's readings, level (N,) the annotated difficulty from 1 to 5, NaN without one,
    labelled (N,), the weight of a row's labels, label_share (N,), see `label_share`, category (N,), a number per
    benchmark and category. Rows that are not `usable` carry no label and no outcome.
    """
    score = dataset.score[:, columns]
    seen = ~np.isnan(score) & usable[:, None]
    tokens = dataset.output_tokens[:, columns]
    capability = np.zeros((len(score), len(taxonomy.capabilities)), np.float32)
    knowledge = np.zeros((len(score), len(taxonomy.domains)), np.float32)
    level = np.full(len(score), np.nan, np.float32)
    for row, notes in readings(dataset).items():
        if usable[row]:
            targets = [taxonomy.targets(note.capabilities, note.knowledge) for note in notes]
            capability[row], knowledge[row] = (np.mean(each, axis=0) for each in zip(*targets, strict=True))
            level[row] = next((note.difficulty for note in notes if note.difficulty is not None), np.nan)
    arrays = {
        "score": np.where(seen, np.nan_to_num(score), 0.0).astype(np.float32),
        "seen": seen,
        "tokens": np.nan_to_num(tokens),
        "measured": dataset.measured[:, columns] & seen,
        "cost": _usual_cost(dataset, columns, train_rows).astype(np.float32),
        "input_tokens": dataset.input_tokens.astype(np.float32),
        "capability": capability,
        "knowledge": knowledge,
        "level": level,
        "labelled": (capability.sum(axis=1) > 0).astype(np.float32),
        "label_share": label_share(dataset.queries["benchmark"], capability.sum(axis=1) > 0, train_rows),
        "category": categories(dataset),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def label_share(benchmark: pd.Series, labelled: NDArray[np.bool_], train_rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Weight (N,) of a row's labels by its benchmark: 1 / root of its labelled training rows, on average 1 over these.

    What generalises to unseen kinds of queries is the number of sets that are labelled, not of rows. In a benchmark
    without such a row it is 1.

    >>> rows = pd.Series(["big"] * 4 + ["small", "blind"])
    >>> label_share(rows, np.array([True] * 5 + [False]), np.arange(6)).astype(float).round(2).tolist()
    [0.83, 0.83, 0.83, 0.83, 1.67, 1.0]
    """
    known = np.zeros(len(benchmark), bool)
    known[train_rows] = labelled[train_rows]
    share = benchmark.map(benchmark[known].value_counts()).to_numpy(np.float64, na_value=np.nan) ** -0.5
    return np.nan_to_num(share / share[known].mean() if known.any() else share, nan=1.0).astype(np.float32)


def categories(dataset: Dataset) -> NDArray[np.int64]:
    """A number (N,) for each query's benchmark and category, from 0 in order of appearance."""
    queries = dataset.queries
    return pd.factorize(queries["benchmark"].astype(str) + "/" + queries["category"].astype(str))[0].astype(np.int64)


def _usual_cost(dataset: Dataset, columns: NDArray[np.intp], train_rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """USD (N, S) of an answer of the system's mean length on training rows; the ranking term breaks ties with it."""
    facts = [dataset.models.get(dataset.systems[column].model) for column in columns]
    price_in = np.array([f.input_usd_per_mtok if f else None for f in facts], np.float64)  # None becomes NaN
    price_out = np.array([f.output_usd_per_mtok if f else None for f in facts], np.float64)
    usual = mean_filled(dataset.output_tokens[train_rows][:, columns]).mean(axis=0)
    return (dataset.input_tokens[:, None] * price_in + usual * price_out) / 1e6
