"""Data folder as the check reads it: the dataset, plus repeated outcomes, models.csv and price dates."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import yaml

from router.evaluation.dataset import Dataset, read_dataset
from router.evaluation.folder_tables import DEFAULT_PROTOCOL
from train.data_folders.check.cells import cells_of, outcomes_of


@dataclass(frozen=True)
class CheckedFolder:
    """Contents of a data folder that is checked."""

    dataset: Dataset  # with the first of repeated outcomes
    repeated: pd.DataFrame  # repeated outcomes: query_id, model, protocol, score, and `first`, the first score
    models: pd.DataFrame  # models.csv as it is
    pool_dates: dict[str, str | None]  # price_date of each pool file beside the data

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """The outcomes, a row each, see `outcomes_of`."""
        return outcomes_of(self.dataset)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Systems on benchmarks, see `cells_of`."""
        return cells_of(self.outcomes)

    def ids(self, rows: object) -> tuple[str, ...]:
        """Query ids of rows of the folder."""
        return tuple(self.dataset.queries["query_id"].to_numpy()[rows])

    def answered(self, benchmarks: object, **others: object) -> tuple[str, ...]:
        """Ids of the queries of `benchmarks` that have an outcome of the protocol or system in `others`."""
        mask = self.outcomes["benchmark"].isin(benchmarks)
        for name, value in others.items():
            mask &= self.outcomes[name] == value
        found = self.outcomes[mask]
        return self.ids(found.sort_values(["benchmark", "row"])["row"].unique())

    def system(self, column: int) -> str:
        """`model@protocol` of a column."""
        return self.dataset.systems[column].id


def read_folder(folder: Path) -> CheckedFolder:
    """The contents; DataError where the folder breaks the format in another way than by repeated rows."""
    dataset = read_dataset(folder, repeated="first")
    return CheckedFolder(
        dataset=dataset,
        repeated=_repeated(folder / "outcomes.parquet"),
        models=pd.read_csv(folder / "models.csv"),
        pool_dates={path.name: _price_date(path) for path in sorted(folder.glob("*pool*.yaml"))},
    )


def _repeated(path: Path) -> pd.DataFrame:
    """Rows of outcomes.parquet after the first of their query, model and protocol."""
    import pyarrow.parquet as pq

    keys = ["query_id", "model", "protocol"]
    table = pd.read_parquet(path, columns=[name for name in (*keys, "score") if name in pq.read_schema(path).names])
    if "protocol" not in table:
        table["protocol"] = DEFAULT_PROTOCOL
    again = table.duplicated(keys)
    firsts = table[~again].rename(columns={"score": "first"})
    return table[again].merge(firsts, on=keys, how="left").astype(dict.fromkeys(keys, str))


def _price_date(path: Path) -> str | None:
    """Date of a pool file's prices; None where it has none, or is no pool file."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    date = raw.get("price_date") if isinstance(raw, dict) else None
    return str(date) if date is not None else None
