"""Report of a router on one pool, from the outcomes in a data folder: the figures of `router evaluate`.

The metrics are those of `router.evaluation.metrics`. Axes: N queries of the folder, B evaluated queries, M candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.arrays import host
from router.encoding.tokenizer import longest_first
from router.errors import DataError, PoolError, UsageError, known_names
from router.evaluation import metrics
from router.evaluation.dataset import Dataset, read_dataset
from router.evaluation.folder_tables import SPLITS, Annotation
from router.evaluation.metrics import Array
from router.network.taxonomy import MULTILINGUAL, OTHER, Taxonomy
from router.policy.decision import SHOWN
from router.pools.pool import Pool
from router.routing.router import Router

TRAIN_FOLDS = tuple(range(7))
LABELLER = "llm-a"


@dataclass(frozen=True)
class PoolOutcomes:
    """Scores and costs of a pool's members, on the queries for which every member has a score, or any has."""

    rows: NDArray[np.intp]  # (B,) rows of the folder's queries
    score: Array  # (B, M), NaN where a member has none
    realised_usd: Array  # (B, M), likewise

    def take(self, mask: NDArray[np.bool_]) -> PoolOutcomes:
        """The outcomes whose row of the folder is set in `mask` (N,)."""
        kept = mask[self.rows]
        return PoolOutcomes(self.rows[kept], self.score[kept], self.realised_usd[kept])

    def complete(self) -> PoolOutcomes:
        """The outcomes of queries for which every member has a score."""
        kept = ~np.isnan(self.score).any(axis=1)
        return PoolOutcomes(self.rows[kept], self.score[kept], self.realised_usd[kept])


def pool_outcomes(dataset: Dataset, pool: Pool, holes: bool = False) -> PoolOutcomes:
    """Outcomes of `pool` in `dataset`; where no cost is recorded it is that of the tokens at the pool's prices.

    With `holes` the queries for which any member has a score. An unknown answer length counts as the system's mean, or
    0 if that is unknown.

    Raises PoolError for a member without a system, DataError for a member without outcomes, or with an outcome that has
    neither a recorded cost nor a price.
    """
    unprofiled = [c.facts.id for c in pool.candidates if c.system is None]
    if unprofiled:
        raise PoolError(f"pool {pool.name!r} admits {unprofiled} at a prior: only models with a profile are evaluated")
    columns = dataset.columns(tuple(c.system for c in pool.candidates if c.system is not None))
    score = dataset.score[:, columns].astype(np.float64)
    known = ~np.isnan(score)
    rows = np.flatnonzero(known.any(axis=1) if holes else known.all(axis=1))
    price_in = np.array([c.facts.input_usd_per_mtok for c in pool.candidates], np.float64)
    price_out = np.array([c.facts.output_usd_per_mtok for c in pool.candidates], np.float64)
    tokens = mean_filled(dataset.output_tokens[:, columns])
    realised = (dataset.input_tokens[:, None] * price_in + tokens * price_out) / 1e6
    if dataset.cost_usd is not None:
        recorded = dataset.cost_usd[:, columns].astype(np.float64)
        realised = np.where(np.isnan(recorded), realised, recorded)
    unknown = np.flatnonzero((np.isnan(realised) & known)[rows].any(axis=0))
    if len(unknown):
        free = [pool.candidates[m].facts.id for m in unknown]
        raise DataError(
            f"pool {pool.name!r}: {', '.join(free[:10])} have outcomes without cost_usd in {dataset.folder}, and no "
            "price: state prices in the pool file, or fill cost_usd"
        )
    return PoolOutcomes(rows, score[rows], np.where(known, realised, np.nan)[rows])


def mean_filled(values: NDArray[np.floating[Any]]) -> Array:
    """`values` (N, M) with each NaN replaced by the mean of its column, or by 0 in an empty column.

    >>> mean_filled(np.array([[1.0, np.nan], [np.nan, np.nan]])).tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0, dtype=np.float64)
    return np.where(known, values, total / np.maximum(known.sum(axis=0), 1)).astype(np.float64)


def row_masks(
    dataset: Dataset, split: str | None, folds: Sequence[int] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks (N,) of the evaluated rows, and of the training rows, from which best single and cheapest are chosen.

    With a split, the training rows are the train split; with folds, they are folds 0 to 6 of every split without the
    evaluated folds.
    """
    if (split is None) == (folds is None):
        raise UsageError("give either a split or folds to evaluate on")
    if split is not None:
        if split not in SPLITS:
            raise UsageError(f"unknown split {split!r}; {known_names(split, SPLITS)}")
        column = dataset.queries["split"].to_numpy()
        return column == split, column == "train"
    if not folds or not set(folds) <= set(range(10)):
        raise UsageError(f"folds are whole numbers from 0 to 9, got {folds!r}")
    fold = dataset.queries["fold"].to_numpy()
    return np.isin(fold, list(folds)), np.isin(fold, sorted(set(TRAIN_FOLDS) - set(folds)))


def judged_and_training(
    dataset: Dataset, pool: Pool, split: str | None, folds: Sequence[int] | None
) -> tuple[PoolOutcomes, PoolOutcomes]:
    """Outcomes of the pool on the two sides of `row_masks`; DataError where the evaluated side has none."""
    masks = row_masks(dataset, split, folds)
    judged, training = map(pool_outcomes(dataset, pool).take, masks)
    if not len(judged.rows):
        raise DataError(f"no query of {f'split {split}' if split else f'folds {folds}'} has a score of every member of "
                        f"pool {pool.name!r}")  # fmt: skip
    return judged, training


def reference_models(train: PoolOutcomes, pool: Pool) -> tuple[int, int]:
    """Columns of the best single model (greatest mean score) and the cheapest one (least mean cost) on `train`."""
    if not len(train.rows):
        raise DataError(
            f"no training row has a score of every member of pool {pool.name!r}, so its best single model cannot be "
            "chosen; evaluate by --folds (training rows are then folds 0 to 6 of every split)"
        )
    return int(train.score.mean(axis=0).argmax()), int(train.realised_usd.mean(axis=0).argmin())


def labels(dataset: Dataset) -> dict[int, Annotation]:
    """The annotation by LABELLER of each annotated row: of several readings the last one that has a difficulty."""
    return {row: max(notes, key=lambda note: note.difficulty is not None) for row, notes in readings(dataset).items()}


def readings(dataset: Dataset) -> dict[int, list[Annotation]]:
    """All annotations by LABELLER of each annotated row, the latest first."""
    row_of = {query_id: row for row, query_id in enumerate(dataset.queries["query_id"])}
    found: dict[int, list[Annotation]] = {}
    for note in reversed(dataset.annotations):
        if note.annotator == LABELLER:
            found.setdefault(row_of[note.query_id], []).append(note)
    return found


def first_label_agreement(
    dataset: Dataset, taxonomy: Taxonomy, rows: NDArray[np.intp], capability: Array, knowledge: Array
) -> tuple[float | None, float | None]:
    """Shares of annotated `rows` (B,) whose strongest capability (B, C) and domain (B, K) are the first annotated ones.

    Of the capabilities `multilingual` is passed over, annotated and predicted: a language stands beside a task. Names
    are compared as annotated: of merged domains the canonical name alone agrees, and `other` never does. None without
    annotations.
    """
    notes, hits, domain_hits = labels(dataset), [], []
    first = first_tasks(taxonomy.capabilities, capability)
    for i, row in enumerate(rows.tolist()):
        if row in notes:
            annotated = [name for name in notes[row].capabilities if name != MULTILINGUAL]
            hits += [first[i] == annotated[0]] if annotated else []
            domain = taxonomy.domains[int(knowledge[i].argmax())]
            domain_hits.append(domain == notes[row].knowledge[0] and domain != OTHER)
    return _share(hits), _share(domain_hits)


def first_tasks(names: Sequence[str], weights: Array) -> NDArray[np.str_]:
    """The name (B,) of the greatest weight (B, C), `multilingual` apart.

    >>> first_tasks(["coding", "multilingual", "writing"], np.array([[0.1, 0.7, 0.2]])).tolist()
    ['writing']
    """
    tasks = [column for column, name in enumerate(names) if name != MULTILINGUAL]
    return np.array(names)[tasks][weights[:, tasks].argmax(axis=1)]


def multilingual_f1(dataset: Dataset, taxonomy: Taxonomy, rows: NDArray[np.intp], capability: Array) -> float | None:
    """F1 of `multilingual`, annotated or not, among annotated `rows` (B,); it is predicted from SHOWN of (B, C) on.

    None where it is neither annotated nor predicted.
    """
    notes, column = labels(dataset), taxonomy.capabilities.index(MULTILINGUAL)
    found = [
        (capability[i, column] >= SHOWN, MULTILINGUAL in notes[row].capabilities)
        for i, row in enumerate(rows.tolist())
        if row in notes
    ]
    present = sum(int(predicted) + int(annotated) for predicted, annotated in found)
    return 2 * sum(predicted and annotated for predicted, annotated in found) / present if present else None


def _share(hits: Sequence[bool]) -> float | None:
    return float(np.mean(hits)) if hits else None


@dataclass(frozen=True)
class Predictions:
    """Predictions of a router for B queries of a pool, in float64."""

    quality: Array  # (B, M)
    cost_usd: Array  # (B, M)
    capability: Array  # (B, C)
    knowledge: Array  # (B, K)


def predict(
    router: Router, texts: Sequence[str], pool: Pool, progress: bool = False, batch_size: int = 32
) -> Predictions:
    """Predictions for `texts`, computed longest first; `progress` shows a bar on stderr."""

    def compute(chunk: list[str]) -> list[Array]:
        found = router.predict(chunk, pool, batch_size)
        columns = (found.quality, found.cost_usd, found.query.capability, found.query.knowledge)
        return [host(each).astype(np.float64) for each in columns]

    return Predictions(*longest_first(texts, compute, pool.name, progress))


def evaluate_router(
    router: Router,
    folder: str | Path | Dataset,
    pool: str | Pool | None = None,
    *,
    split: str | None = None,
    folds: Sequence[int] | None = None,
    progress: bool = False,
    batch_size: int = 32,
) -> dict[str, Any]:
    """All figures of docs/method.md section 4 for one router on one pool, with the fields of `metrics.Report`.

    Raises DataError for a pool without evaluated queries, and PoolError or UsageError for other arguments.
    """
    dataset = folder if isinstance(folder, Dataset) else read_dataset(folder)
    found = router.pool(pool)
    judged, training = judged_and_training(dataset, found, split, folds)
    best, cheapest = reference_models(training, found)
    texts = dataset.queries["text"].to_numpy()[judged.rows].tolist()
    made = predict(router, texts, found, progress, batch_size)
    report = metrics.evaluate(made.quality, made.cost_usd, judged.score, judged.realised_usd, best, cheapest)
    capability, domain = first_label_agreement(dataset, router.taxonomy, judged.rows, made.capability, made.knowledge)
    return {**asdict(report), "first_capability": capability, "first_domain": domain}
