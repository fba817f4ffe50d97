"""Writer of a built data folder in RouteMix-open's format: joins the parts of all sources and writes a manifest.

Folds and splits are drawn by group: twins (the same question with any options, or nearly the same text) share a group
and hence a fold. A twin of a query from a held-out benchmark is marked as `ood_twin`.
"""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from router.errors import DataError, UsageError
from router.evaluation.dataset import read_dataset
from train.data_folders.build.part import OUTCOME_COLUMNS, Part
from train.data_folders.data_folder import PRICES, holds_other_files, whole_data_folder
from train.data_folders.questions import fold_of, group_keys, near_duplicates, split_of

MANIFEST = "manifest.json"  # marks a built folder, which may be replaced


def check_target(target: Path, force: bool) -> None:
    """UsageError where writing to `target` would replace other files, or a built folder without `force`."""
    if holds_other_files(target, MANIFEST):
        raise UsageError(f"{target} exists and was not built by this command: name another folder, or delete it")
    if (target / MANIFEST).is_file() and not force:
        raise UsageError(f"{target} was built before: give --force to replace it, or name another folder")


def write_folder(target: Path, parts: list[Part], prices: pd.DataFrame | None, force: bool = False) -> dict[str, Any]:
    """Write the folder and return its manifest; the folder is read as a data folder before it gets its name.

    Raises:
        UsageError: `target` holds other files or cannot be written, or two parts have one name.
        DataError: the folder would break the format.
    """
    check_target(target, force)
    names = [part.name for part in parts]
    if len(set(names)) < len(names):
        raise UsageError(f"two sources are named alike: {sorted({n for n in names if names.count(n) > 1})}")
    with whole_data_folder(target) as fresh:
        manifest = _write_files(fresh, parts, prices)
        read_dataset(fresh)
    return manifest


def _write_files(folder: Path, parts: list[Part], prices: pd.DataFrame | None) -> dict[str, Any]:
    queries = with_folds(pd.concat([part.queries for part in parts], ignore_index=True))
    queries.to_parquet(folder / "queries.parquet", index=False)
    outcomes, notes = _outcomes(parts)
    outcomes.to_parquet(folder / "outcomes.parquet", index=False)
    models = _models(outcomes, prices)
    models.to_csv(folder / "models.csv", index=False)
    manifest = {
        "date": datetime.date.today().isoformat(),
        "queries": len(queries),
        "outcomes": len(outcomes),
        "models": len(models),
        "unpriced": int(models[PRICES].isna().any(axis=1).sum()),
        "groups": int(queries["group"].nunique()),
        "ood_twins": int(queries["ood_twin"].sum()),
        "notes": notes,
        "parts": [
            {
                "name": part.name,
                "origin": part.origin,
                "verified": part.verified,
                "queries": len(part.queries),
                "outcomes": len(part.outcomes),
                "models": int(part.outcomes["model"].nunique()),
                "left_out": dict(part.left_out),
            }
            for part in parts
        ],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest


def _outcomes(parts: list[Part]) -> tuple[pd.DataFrame, list[str]]:
    """Rows of outcomes.parquet, and notes. Costs are kept only if every outcome has one, as the format demands."""
    tables = [part.outcomes.assign(protocol=part.name) for part in parts if len(part.outcomes)]
    columns = [*OUTCOME_COLUMNS, "protocol"]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    table["score"] = table["score"].astype(np.float32)
    table["output_chars"] = table["output_chars"].astype(float)
    table["output_chars_basis"] = table["output_chars"].notna().map({True: "measured", False: None}).astype(object)
    costed = table["cost_usd"].notna()
    if costed.all() and len(table):
        return table, []
    notes = []
    if costed.any():
        notes.append(
            f"{int(costed.sum()):,} of {len(table):,} outcomes have a cost, the others none: costs are left out, "
            "prices and lengths decide; build sources with costs into a folder of their own to keep them"
        )
    return table.drop(columns="cost_usd"), notes


def _models(outcomes: pd.DataFrame, prices: pd.DataFrame | None) -> pd.DataFrame:
    """A row for each model, with its prices if the table has them."""
    models = pd.DataFrame({"model": sorted(set(outcomes["model"]))}, dtype=object)
    if prices is None:
        return models.assign(**dict.fromkeys(PRICES, np.nan))
    missing = [name for name in ("model", *PRICES) if name not in prices]
    if missing:
        raise DataError(f"the table of --models lacks the columns {missing}; it has {list(prices.columns)[:10]}")
    return models.merge(prices.drop_duplicates("model"), on="model", how="left")


def with_folds(queries: pd.DataFrame) -> pd.DataFrame:
    """The queries with `group`, `fold`, `split` and `ood_twin` in place of `held_out`."""
    texts = queries["text"].tolist()
    keys = group_keys(texts)
    group = pd.Series(_joined(keys, near_duplicates(texts, keys)), index=queries.index)
    held_out = queries["held_out"]
    fold = group.map(fold_of)
    split = fold.map(split_of).where(~held_out, "ood")
    twin = group.isin(set(group[held_out])) & ~held_out
    return queries.drop(columns="held_out").assign(split=split, fold=fold.astype("int8"), group=group, ood_twin=twin)


def _joined(keys: list[str], pairs: list[tuple[int, int]]) -> list[str]:
    """The keys; keys that pairs connect are replaced by the least of them.

    >>> _joined(["b", "c", "a", "d"], [(0, 1), (1, 2)])
    ['a', 'a', 'a', 'd']
    """
    names, place = np.unique(keys, return_inverse=True)
    a, b = place[np.array(pairs, int).reshape(-1, 2)].T
    joined = sparse.coo_matrix((np.ones(len(a)), (a, b)), (len(names), len(names)))
    _, component = sparse.csgraph.connected_components(joined, directed=False)
    return pd.Series(names).groupby(component).transform("min")[place].tolist()
