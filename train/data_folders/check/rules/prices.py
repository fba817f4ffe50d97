"""Rule for prices: missing prices, prices in another unit, old prices."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pandas as pd

from train.data_folders.check.finding import NOTE, WARNING, Finding
from train.data_folders.check.folder import CheckedFolder

OLD_DAYS = 180
PRICES = ("input_usd_per_mtok", "output_usd_per_mtok")
USUAL_USD_PER_MTOK = (1e-3, 1e3)  # other prices are per token or per thousand tokens
MONTH = re.compile(r"\b(20\d\d)(?:-(\d\d))?(?:-(\d\d))?\b")


def price_findings(folder: CheckedFolder, today: datetime.date) -> list[Finding]:
    """Findings about missing, unlikely and old prices."""
    return [*_missing(folder), *_unlikely(folder), *_out_of_date(folder, today)]


def _missing(folder: CheckedFolder) -> list[Finding]:
    models = {system.model for system in folder.dataset.systems}
    facts = folder.dataset.models
    without = tuple(sorted(name for name in models if name not in facts or not facts[name].priced))
    if not without or folder.dataset.cost_usd is not None:
        return []
    return [
        Finding(
            WARNING,
            "missing prices",
            "models.csv",
            f"{len(without):,} of {len(models):,} models with outcomes have no price",
            "add their prices, or keep them out of pools: their cost cannot be predicted",
            len(without),
            without,
        )
    ]


def _unlikely(folder: CheckedFolder) -> list[Finding]:
    price = folder.models[list(PRICES)].apply(pd.to_numeric, errors="coerce")
    low, high = USUAL_USD_PER_MTOK
    odd = (((price > 0) & (price < low)) | (price > high)).any(axis=1)
    if not odd.any():
        return []
    names = tuple(folder.models["model"][odd].astype(str))
    return [
        Finding(
            WARNING,
            "unlikely prices",
            "models.csv",
            f"{len(names):,} models cost less than ${low:g} or more than ${high:g} per million tokens",
            "prices are in USD per million tokens: multiply those per token or per thousand",
            len(names),
            names,
        )
    ]


def _out_of_date(folder: CheckedFolder, today: datetime.date) -> list[Finding]:
    """Models with an old price, by `price_date` or the year in `price_basis`; and pool files."""
    priced = folder.models[folder.models[list(PRICES)].notna().all(axis=1)]
    dates = {str(row["model"]): _date_of(row) for _, row in priced.iterrows()}
    dates |= {name: _latest(date) for name, date in folder.pool_dates.items() if date}
    known = {name: date for name, date in dates.items() if date}
    old = tuple(name for name, date in known.items() if (today - date).days > OLD_DAYS)
    found = []
    if old:
        newest = max(known[name] for name in old)
        found.append(
            Finding(
                WARNING,
                "prices out of date",
                "models.csv" if set(old) - set(folder.pool_dates) else ", ".join(old),
                f"{len(old):,} prices are older than {OLD_DAYS} days, the newest of them of {newest:%Y-%m}",
                "look the prices up again and write the date into price_date",
                len(old),
                old,
            )
        )
    if len(priced) and not known:
        found.append(
            Finding(
                NOTE,
                "prices out of date",
                "models.csv",
                "the prices have no date",
                "add a column price_date, such as 2026-11",
                len(priced),
            )
        )
    return found


def _date_of(row: pd.Series) -> datetime.date | None:
    for name in ("price_date", "price_basis"):
        value = row.get(name)
        if isinstance(value, str | int | np.integer) and (found := _latest(str(value))):
            return found
    return None


def _latest(text: str) -> datetime.date | None:
    """The last day that a date, a month or a year in the text can mean; None where there is none.

    >>> _latest("list price 2024"), _latest("2026-02")
    (datetime.date(2024, 12, 31), datetime.date(2026, 2, 28))
    """
    found = MONTH.search(text)
    if not found:
        return None
    year, month, day = (int(part) if part else None for part in found.groups())
    assert year is not None
    try:
        if day is not None and month is not None:
            return datetime.date(year, month, day)
        following = datetime.date(year + (month or 12) // 12, (month or 12) % 12 + 1, 1)
    except ValueError:
        return None
    return following - datetime.timedelta(days=1)
