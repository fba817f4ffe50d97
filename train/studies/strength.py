"""How well strengths order systems on a family of benchmarks that they were fitted without: `python -m train strength`.

It needs a data folder with annotated difficulties, and no checkpoint: the annotated level stands for the one that a
network reads. Axes: N annotated rows, S systems.
"""

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from router.evaluation.dataset import Dataset, read_dataset
from router.evaluation.pool_report import labels
from train.compare.families import family_of
from train.data.published_scores import NO_SCORES, published_scores
from train.export.strength import Answers, Strength, fit_strength
from train.studies.inputs import folds

FEWEST = 30  # annotated answers of a system to the family that is left out
LEAST_ELSEWHERE = 100  # answers of a system to other benchmarks
LEAST_SYSTEMS = 8


@dataclass(frozen=True)
class Annotated:
    """Annotated rows of some folds with the answers of one protocol's systems."""

    dataset: Dataset
    columns: NDArray[np.intp]  # (S,) of the dataset's systems
    benchmark: NDArray[np.str_]  # (N,)
    level: NDArray[np.float32]  # (N,)
    score: NDArray[np.float32]  # (N, S), NaN without an answer

    def answers(self, rows: NDArray[np.bool_]) -> Answers:
        """The answers to some rows (N,)."""
        score = self.score[rows]
        level, number = torch.from_numpy(self.level[rows]), torch.from_numpy(pd.factorize(self.benchmark[rows])[0])
        return Answers(level, number, torch.from_numpy(np.nan_to_num(score)), torch.from_numpy(~np.isnan(score)))

    def strength(self, rows: NDArray[np.bool_], trained: Collection[str] | None) -> Strength:
        """Strengths fitted on some rows (N,), and on published scores where `trained` are the benchmarks that count."""
        systems = [self.dataset.systems[column] for column in self.columns]
        published = NO_SCORES if trained is None else published_scores(self.dataset, systems, trained)
        return fit_strength(self.answers(rows), torch.zeros(len(systems), dtype=torch.long), 1, published)


def annotated(dataset: Dataset, protocol: str, chosen: Sequence[int]) -> Annotated:
    """The annotated rows of folds `chosen` that a system of `protocol` answered."""
    columns = np.flatnonzero([system.protocol == protocol for system in dataset.systems])
    level = np.full(len(dataset.queries), np.nan, np.float32)
    for row, note in labels(dataset).items():
        level[row] = np.nan if note.difficulty is None else note.difficulty
    score = dataset.score[:, columns]
    rows = ~np.isnan(level) & dataset.queries["fold"].isin(list(chosen)).to_numpy() & ~np.isnan(score).all(axis=1)
    return Annotated(dataset, columns, dataset.queries["benchmark"].to_numpy(str)[rows], level[rows], score[rows])


def left_out(data: Annotated) -> pd.DataFrame:
    """Per family: systems, rank correlations with their success on it, and the bias of the predicted success.

    `mean` orders systems by their mean score on all other benchmarks, `answers` by strengths without published scores,
    `published` with them.
    """
    rows, done = [], set[str]()
    for name in dict.fromkeys(data.benchmark.tolist()):
        family = family_of(name, set(data.benchmark))
        out = np.isin(data.benchmark, list(family))
        count, elsewhere = (~np.isnan(data.score[out])).sum(0), (~np.isnan(data.score[~out])).sum(0)
        judged = (count >= FEWEST) & (elsewhere >= LEAST_ELSEWHERE)
        if name in done or judged.sum() < LEAST_SYSTEMS:
            continue
        done |= family
        success, others = (np.nanmean(data.score[part][:, judged], axis=0) for part in (out, ~out))
        row: dict[str, object] = {"left out": " ".join(sorted(family)), "systems": int(judged.sum())}
        row["mean"] = spearmanr(others, success).statistic
        for kind, trained in (("answers", None), ("published", set(data.benchmark[~out]))):
            found = data.strength(~out, trained)
            row[kind] = spearmanr(found.strength.numpy()[judged], success).statistic
            far = found.logits(torch.from_numpy(data.level[out]), torch.zeros(len(data.columns), dtype=torch.long))
            predicted = np.where(np.isnan(data.score[out]), np.nan, far.sigmoid().numpy())
            row[f"{kind}, bias"] = float((np.nanmean(predicted[:, judged], axis=0) - success).mean())
        rows.append(row)
    return pd.DataFrame(rows)


def main(args: list[str] | None = None) -> int:
    """Print the table; 0 when done."""
    parser = argparse.ArgumentParser(
        prog="python -m train strength",
        description="How well strengths, fitted without a family of benchmarks, order systems on it.",
    )
    parser.add_argument("--data", help="data folder; default ROUTEMIX_DIR, else data/routemix-open")
    parser.add_argument("--protocol", default="open-2026", help="whose systems (default %(default)s)")
    parser.add_argument(
        "--folds", type=folds, default="0,1,2,3,4,5,6,7", help="of annotated rows (default %(default)s)"
    )
    options = parser.parse_args(args)
    data = annotated(read_dataset(options.data), options.protocol, options.folds)
    print(left_out(data).to_string(index=False, float_format="%.2f"))
    return 0
