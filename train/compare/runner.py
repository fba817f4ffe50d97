"""Resumable runner of a comparison: computes the missing cells, one for each method, seed, pool and part.

A cell is finished when its file's key is the digest of everything that decides it: data, rows, pool, settings, seed,
and the sources of the baselines. The sources of our own training are not in it: delete OUT/fits to train anew.
Cells are computed in jobs; no method sees an outcome of a test row. It does not know how a cell is judged.
Axes: N queries of the folder, B queries of a pool, M candidates.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import train.baselines
from router.encoding.torch_encoder import DEFAULT_ENCODER, QueryEncoder
from router.evaluation.metrics import Array
from router.evaluation.pool_report import labels, predict
from router.network.taxonomy import RANK_DECAY
from router.pools.pool import Pool
from train.baselines.closed_form import predicted_labels
from train.baselines.cost import AnswerLengths
from train.baselines.methods import METHODS
from train.baselines.task import Outcomes, Queries, Task
from train.compare import ours
from train.compare.predictions import Cell, CellPredictions, Index, digest_of, is_finished, key_of, write_cell
from train.compare.processes import run
from train.compare.regimes import Regime
from train.compare.settings import method_name
from train.compare.workplace import Workplace
from train.data.training_data import taxonomy_of

DATA_FILES = ("queries.parquet", "outcomes.parquet", "annotations*.jsonl", "models.csv")


@dataclass(frozen=True)
class Job:
    """Cells that one process fills together, each with its key."""

    regime: Regime
    part: str
    seed: int  # draws the training rows and starts our fit
    cells: dict[Cell, str]
    config: str | None = None  # of our method; None for the baselines of one pool
    fit_key: str = ""


def fill(place: Workplace, workers: int, progress: bool = True) -> None:
    """Fill every cell that is missing or was made with other settings. A killed run keeps its finished cells.

    Raises what a method raises, after the running cells are finished.
    """
    jobs = [*_our_jobs(place), *_baseline_jobs(place)]  # our fits take longest: first
    total = sum(len(job.cells) for job in jobs)
    pending = []
    for job in jobs:
        if left := {cell: key for cell, key in job.cells.items() if not is_finished(cell.file(place.out), key)}:
            pending.append(replace(job, cells=left))
    _embed(place, pending)
    finished = total - sum(len(job.cells) for job in pending)
    with tqdm(total=total, initial=finished, unit="cell", desc=place.settings.name, disable=not progress) as bar:
        for done in run(fill_job, pending, place, workers):
            bar.update(done)


def fill_job(place: Workplace, job: Job) -> int:
    """The number of cells of a job, after they are filled."""
    found = _our_predictions(place, job) if job.config else _baseline_predictions(place, job)
    for cell, predictions in found:
        write_cell(cell.file(place.out), job.cells[cell], predictions)
    return len(job.cells)


def _embed(place: Workplace, pending: list[Job]) -> None:
    """Fill the cache of embeddings, which several processes would otherwise compute at once."""
    if any(job.config is None for job in pending):
        _ = place.embedding
    for config in dict.fromkeys(job.config for job in pending if job.config):
        tuning = place.settings.tuned.get(config)
        settings = ours.read_config(tuning.config if tuning else config)
        if ours.is_frozen(settings) or settings["data"].get("weak_label_weight"):  # the teacher reads them
            ours.cached_encoder(settings, place.texts, place.settings.cache)


def _our_jobs(place: Workplace) -> Iterator[Job]:
    """Jobs of our methods: one fit each, with its predictions for every pool."""
    data = _data_digest(place)
    for config, seeds in place.settings.ours.items():
        settings, tuning = ours.read_config(config), place.settings.tuned.get(config)
        start = ours.read_config(tuning.config) if tuning else settings
        made_of: dict[str, Any] = {
            "data": data,
            "config": settings,
            "pools": digest_of(*(Path(file) for file in settings["data"].get("pools", ()))),
            "encoder": digest_of(Path(start["model"].get("encoder", DEFAULT_ENCODER))),
        }
        if tuning:
            made_of |= {"tuning": start, "share": tuning.share}
        for regime in place.regimes:
            for part in regime.parts:
                for seed in seeds:
                    rows = place.rows(regime, part, seed)
                    fit_key = key_of({**made_of, "seed": seed, "train": rows.train, "val": rows.val})
                    cells = {
                        Cell(regime.name, part, pool, method_name(config), seed): key_of(
                            {"fit": fit_key, "test": rows.test, "pool": _pool_key(place, regime, part, pool)}
                        )
                        for pool in place.pools_under(regime, part)
                    }
                    yield Job(regime, part, seed, cells, config, fit_key)


def _our_predictions(place: Workplace, job: Job) -> Iterator[tuple[Cell, CellPredictions]]:
    """Predictions of the job's cells by its fit."""
    assert job.config is not None
    rows = place.rows(job.regime, job.part, job.seed)
    run_folder = place.out / "fits" / method_name(job.config) / job.regime.name / job.part / str(job.seed)
    tuning, cache = place.settings.tuned.get(job.config), place.settings.cache
    checkpoint = ours.fit(job.config, job.seed, place.dataset, rows, run_folder, job.fit_key, cache, tuning=tuning)
    router = ours.load(checkpoint, place.texts, cache)
    for cell in job.cells:
        pool, outcomes = place.members(job.regime, job.part, cell.pool)
        test, val = outcomes.take(rows.test).complete().rows, outcomes.take(rows.val).rows
        prediction = predict(router, [place.texts[row] for row in [*test, *val]], pool)
        quality, cost = (np.split(each, [len(test)]) for each in (prediction.quality, prediction.cost_usd))
        yield cell, CellPredictions(test, quality[0], cost[0], val, quality[1], cost[1])


def _baseline_jobs(place: Workplace) -> Iterator[Job]:
    """Jobs of all baselines of one pool under one part, and under one seed where the seed draws the training rows."""
    settings, data = place.settings, _data_digest(place)
    made_of = {
        "data": data,
        "encoder": [settings.encoder, digest_of(Path(settings.encoder)), settings.max_tokens, settings.layers],
        "sources": digest_of(*sorted(Path(train.baselines.__file__).parent.glob("*.py"))),
    }
    wanted = [(method, seed) for method, seeds in settings.baselines.items() for seed in seeds]
    for regime in place.regimes:
        draws = sorted({seed for _, seed in wanted}) if regime.draws_rows else [0]
        for part in regime.parts:
            for draw in draws:
                rows = place.rows(regime, part, draw)
                of_rows = made_of | {"train": rows.train, "val": rows.val, "test": rows.test}
                for pool in place.pools_under(regime, part):
                    of_pool = key_of(of_rows | {"pool": _pool_key(place, regime, part, pool)})
                    cells = {
                        Cell(regime.name, part, pool, method, seed): key_of(
                            {"task": of_pool, "method": method, "seed": seed}
                        )
                        for method, seed in wanted
                        if not regime.draws_rows or seed == draw
                    }
                    yield Job(regime, part, draw, cells)


def _pool_key(place: Workplace, regime: Regime, part: str, pool: str) -> str | list[str]:
    """What decides a pool's predictions in a part: its file, and which members remain where some may not."""
    file = digest_of(Path(place.files[pool]))
    return [file, *place.members(regime, part, pool)[0].ids] if regime.kind == "leave-one-out" else file


def _data_digest(place: Workplace) -> str:
    return digest_of(
        *(file for folder in place.dataset.folders for name in DATA_FILES for file in sorted(folder.glob(name)))
    )


@lru_cache(maxsize=1)
def queries_of(place: Workplace, regime: Regime, part: str, seed: int) -> Queries:
    """All N queries of the folder as baselines read them; consecutive pools of one part share them.

    Label axes and predicted labels come from the training rows' annotations; without any, predicted labels are NaN.
    """
    train, dataset = np.flatnonzero(place.rows(regime, part, seed).train), place.dataset
    phrases = QueryEncoder.from_pretrained(place.settings.encoder)
    taxonomy = taxonomy_of(dataset, train, phrases)
    llm = np.full((len(dataset.queries), len(taxonomy.axes)), np.nan)
    for row, note in labels(dataset).items():
        llm[row] = np.concatenate(taxonomy.targets(note.capabilities, note.knowledge, RANK_DECAY))
    predicted = np.full_like(llm, np.nan)
    if not np.isnan(llm[train]).all():
        predicted = predicted_labels(place.embedding[train], llm[train], place.embedding)
    benchmark, category = (dataset.queries[name].to_numpy(str) for name in ("benchmark", "category"))
    named = np.array([f"{b}/{c}" for b, c in zip(benchmark, category, strict=True)])
    texts = np.array(place.texts, object)
    return Queries(place.embedding, dataset.input_tokens, benchmark, named, llm, predicted, texts)


def expected_costs(place: Workplace, pool: Pool, train: Index, asked: Index) -> Array:
    """Predicted costs (B, M) in USD of the queries at `asked`, with answer lengths learned from training rows."""
    dataset = place.dataset
    tokens = np.where(dataset.measured, dataset.output_tokens, np.nan)[train][:, place.columns(pool)]
    lengths = AnswerLengths().fit(place.embedding[train], tokens).predict(place.embedding[asked])
    return place.cost_usd(pool, asked, lengths)


def _baseline_predictions(place: Workplace, job: Job) -> Iterator[tuple[Cell, CellPredictions]]:
    """Predictions of the job's cells, all of one pool, by their baselines."""
    name = next(iter(job.cells)).pool
    pool, outcomes = place.members(job.regime, job.part, name)
    rows = place.rows(job.regime, job.part, job.seed)
    queries = queries_of(place, job.regime, job.part, job.seed)
    train, val, test = outcomes.take(rows.train), outcomes.take(rows.val), outcomes.take(rows.test).complete()
    cost = expected_costs(place, pool, train.rows, np.concatenate([test.rows, val.rows]))
    test_cost, val_cost = cost[: len(test.rows)], cost[len(test.rows) :]
    task = Task(
        queries.take(train.rows),
        Outcomes(train.score, train.realised_usd),
        queries.take(val.rows),
        Outcomes(val.score, val.realised_usd),
        val_cost,
        *place.references(job.regime, job.part, name, rows.train)[:2],
    )
    for cell in job.cells:
        baseline = METHODS[cell.method]()
        baseline.fit(task, cell.seed)
        yield (
            cell,
            CellPredictions(
                test.rows,
                np.asarray(baseline.predict(queries.take(test.rows)), np.float64),
                test_cost,
                val.rows,
                np.asarray(baseline.predict(task.val), np.float64),
                val_cost,
            ),
        )
