"""Rules for what lies beside the outcomes: label coverage, and missing, unlikely and old prices."""

import datetime
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from router.evaluation.pool_report import LABELLER
from router.network.taxonomy import CAPABILITIES
from train.data_folders.check.finding import NOTE, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.data_folder import PRICES

ENOUGH = 50  # annotated training queries of an axis; with fewer, training does not recover a planted profile on it
FEWEST_QUERIES = 100  # a smaller benchmark needs no annotations
OLD_DAYS = 180
USUAL_USD_PER_MTOK = (1e-3, 1e3)  # other prices are per token or per thousand tokens
DATE = re.compile(r"\b20\d\d(?:-\d\d)?(?:-\d\d)?\b")  # a day, a month or a year


def label_findings(folder: CheckedFolder) -> Iterator[Finding]:
    """Findings about the annotations by the annotator that training reads."""
    queries, notes = folder.dataset.queries, folder.dataset.annotations
    note, warning = (partial(Finding, level, "label coverage") for level in (NOTE, WARNING))
    if not any(each.annotator == LABELLER for each in notes):
        yield warning(
            "annotations.jsonl",
            f"no query is annotated by {LABELLER}, so the axes have no meaning",
            "annotate some hundred queries: python -m train annotate",
        )
        return
    unknown = [(each.query_id, name) for each in notes for name in each.capabilities if name not in CAPABILITIES]
    if unknown:
        rows = tuple(each.query_id for each in notes if not set(each.capabilities) <= set(CAPABILITIES))
        shown = ", ".join(f"{name!r} ({n:,})" for name, n in Counter(name for _, name in unknown).most_common(5))
        yield warning(
            "annotations.jsonl",
            f"{len(rows):,} annotations name capabilities that are not in the list and are ignored: {shown}",
            f"allowed: {', '.join(CAPABILITIES)}",
            rows=rows,
        )
    training = set(queries["query_id"][queries["split"] == "train"])
    trained = [each for each in notes if each.annotator == LABELLER and each.query_id in training]
    count = Counter(name for each in trained for name in set(each.capabilities))
    rare = tuple(name for name in CAPABILITIES if count[name] < ENOUGH)
    if rare:
        yield note(
            "annotations.jsonl",
            f"capabilities with fewer than {ENOUGH} of the {len(trained):,} annotated training queries: "
            f"{', '.join(f'{name} {count[name]}' for name in rare)}",
            "annotate more queries that need them, or do not trust these axes",
            rows=rare,
        )
    noted = queries["query_id"].isin({each.query_id for each in notes})
    benchmarks = noted.groupby(queries["benchmark"], observed=True).agg(["size", "any"])
    blind = benchmarks.index[~benchmarks["any"] & (benchmarks["size"] >= FEWEST_QUERIES)]
    rows = folder.ids(np.flatnonzero(queries["benchmark"].isin(blind)))
    if rows:
        yield note(
            ", ".join(blind),
            f"none of their {len(rows):,} queries is annotated",
            "annotate a sample of each: what they need is unknown otherwise",
            rows=rows,
        )


def price_findings(folder: CheckedFolder, today: datetime.date) -> Iterator[Finding]:
    """Findings about missing, unlikely and old prices."""
    models = {system.model for system in folder.dataset.systems}
    facts, cost = folder.dataset.models, folder.dataset.cost_usd
    uncosted = ~np.isnan(folder.dataset.score) & (np.isnan(cost) if cost is not None else True)
    asked = {folder.dataset.systems[s].model for s in np.flatnonzero(uncosted.any(axis=0))}
    without = tuple(sorted(name for name in asked if name not in facts or not facts[name].priced))
    if without:
        yield Finding(
            WARNING,
            "missing prices",
            "models.csv",
            f"{len(without):,} of {len(models):,} models with outcomes have no price",
            "add their prices, or keep them out of pools: their cost cannot be predicted",
            rows=without,
        )
    price, (low, high) = folder.models[PRICES].apply(pd.to_numeric, errors="coerce"), USUAL_USD_PER_MTOK
    odd = tuple(folder.models["model"][(((price > 0) & (price < low)) | (price > high)).any(axis=1)].astype(str))
    if odd:
        yield Finding(
            WARNING,
            "unlikely prices",
            "models.csv",
            f"{len(odd):,} models cost less than ${low:g} or more than ${high:g} per million tokens",
            "prices are in USD per million tokens: multiply those per token or per thousand",
            rows=odd,
        )
    yield from _out_of_date(folder, today)


def _out_of_date(folder: CheckedFolder, today: datetime.date) -> Iterator[Finding]:
    """Models with an old price, by `price_date` or the year in `price_basis`; and pool files."""
    priced = folder.models[folder.models[PRICES].notna().all(axis=1)]
    dates = {str(row["model"]): _date_of(row) for row in priced.to_dict("records")}
    dates |= {name: _latest(date) for name, date in folder.pool_dates.items() if date}
    known = {name: date for name, date in dates.items() if date}
    old = tuple(name for name, date in known.items() if (today - date).days > OLD_DAYS)
    if old:
        yield Finding(
            WARNING,
            "prices out of date",
            "models.csv" if set(old) - set(folder.pool_dates) else ", ".join(old),
            f"{len(old):,} prices are older than {OLD_DAYS} days, the newest of them of "
            f"{max(known[name] for name in old):%Y-%m}",
            "look the prices up again and write the date into price_date",
            rows=old,
        )
    if len(priced) and not known:
        advice = "add a column price_date, such as 2026-11"
        yield Finding(NOTE, "prices out of date", "models.csv", "the prices have no date", advice, len(priced))


def _date_of(row: dict[str, object]) -> datetime.date | None:
    for value in (row.get("price_date"), row.get("price_basis")):
        if isinstance(value, str | int | np.integer) and (found := _latest(str(value))):
            return found
    return None


def _latest(text: str) -> datetime.date | None:
    """The last day that a date, a month or a year in the text can mean; None where there is none.

    >>> _latest("list price 2024"), _latest("2026-02")
    (datetime.date(2024, 12, 31), datetime.date(2026, 2, 28))
    """
    found = DATE.search(text)
    try:
        return pd.Period(found[0]).end_time.date() if found else None
    except ValueError:
        return None
