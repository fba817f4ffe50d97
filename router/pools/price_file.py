"""Files of price tables: CSV read with every check, written sorted, and the table that is in use.

    # prices of 2026-11-29 from litellm 1.110.2
    id,input_usd_per_mtok,output_usd_per_mtok,...,flags
    anthropic/claude-sonnet-4-5,3,15,...,tools vision

The file is prices.csv beside this module, or a newer one in the user's settings. Opens no connection.
"""

from __future__ import annotations

import csv
import logging
import math
import os
import re
from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from pathlib import Path

from router.errors import PoolError, quoted
from router.files import settings_folder
from router.pools.prices import FLAGS, NUMBERS, ModelPrice, PriceTable

logger = logging.getLogger(__name__)

PRICES_VARIABLE = "ROUTER_PRICES"
SHIPPED = Path(__file__).with_name("prices.csv")
COLUMNS = ("id", *NUMBERS, "flags")
OLD_DAYS = 90  # a table that is older is named in a warning
DEAREST = 10_000.0  # USD per million tokens; more is a mistake of the unit
_HEAD = re.compile(r"# prices of (\d{4}-\d{2}-\d{2}) from (.+)")


def price_table() -> PriceTable:
    """The table in use: the file that ROUTER_PRICES names, otherwise the newer one of the user's and the shipped.

    Raises PoolError for a broken file.
    """
    if own := os.environ.get(PRICES_VARIABLE):
        return _kept(Path(own), _stamp(Path(own)))
    tables = [_kept(file, _stamp(file)) for file in (user_file(), SHIPPED) if file.exists()]
    return max(tables, key=lambda table: table.date)


def user_file() -> Path:
    """Where `router prices --update` writes: ROUTER_PRICES, otherwise prices.csv in the user's settings."""
    return Path(os.environ.get(PRICES_VARIABLE) or settings_folder() / "prices.csv")


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise PoolError(f"cannot read the price table {file}: {error}") from error
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4)
def _kept(file: Path, _: tuple[int, int]) -> PriceTable:
    """The table in a file of this stamp."""
    try:
        return read_table(file.read_text(encoding="utf-8"), str(file))
    except (OSError, ValueError) as error:
        raise PoolError(f"cannot read the price table {file}: {error}") from error


@lru_cache(maxsize=1)  # one warning per process
def warn_if_old(table: PriceTable) -> None:
    """Log a warning, once, about a table of OLD_DAYS and more."""
    if table.age_days() > OLD_DAYS:
        logger.warning(
            "prices are taken from a table of %s, which is %d days old: `router prices --update` takes a newer one",
            *(table.date, table.age_days()),
        )


def read_table(text: str, where: str) -> PriceTable:
    """The table in the text of a CSV file. Raises PoolError with up to five of its problems, opened by `where`."""
    head, *lines = text.splitlines() or [""]
    found = _HEAD.fullmatch(head)
    if found is None:
        raise PoolError(f"{where}: its first line should be `# prices of YYYY-MM-DD from SOURCE`, got {quoted(head)}")
    problems: list[str] = []
    try:
        date.fromisoformat(found[1])
    except ValueError:
        problems.append(f"line 1: {found[1]} is no date")
    reader = csv.reader(lines)
    if tuple(columns := next(reader, [])) != COLUMNS:
        raise PoolError(f"{where}: line 2 should be {','.join(COLUMNS)}, got {quoted(','.join(columns))}")
    rows: dict[str, ModelPrice] = {}
    try:
        for number, cells in enumerate(reader, 3):
            try:
                row = _row(cells)
                if row.id in rows:
                    raise ValueError(f"an earlier line has {quoted(row.id)} too")
                rows[row.id] = row
            except ValueError as error:
                problems.append(f"line {number}: {error}")
    except csv.Error as error:
        problems.append(f"not CSV: {error}")
    if not rows and not problems:
        problems.append("it has no rows")
    if problems:
        more = f"; and {len(problems) - 5} more problems" if len(problems) > 5 else ""
        raise PoolError(f"{where}: {'; '.join(problems[:5])}{more}")
    return PriceTable(found[1], found[2], rows)


def _row(cells: list[str]) -> ModelPrice:
    """A row of the file. Raises ValueError with what is wrong."""
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} cells, there should be {len(COLUMNS)}")
    name, *numbers, flags = cells
    if not re.fullmatch(r'[^/\s,"]+/[^\s,"]+', name):
        raise ValueError(f"id: got {quoted(name)}; write seller/model")
    if strange := sorted(set(flags.split()) - set(FLAGS)):
        raise ValueError(f"flags: got {quoted(strange[0])}; allowed are {', '.join(FLAGS)}")
    values = {column: _number(column, cell) for column, cell in zip(NUMBERS, numbers, strict=True)}
    return ModelPrice(name, **values, **{flag: flag in flags.split() for flag in FLAGS})  # type: ignore[arg-type]


def _number(column: str, cell: str) -> float | int | None:
    if not cell and column not in ("input_usd_per_mtok", "output_usd_per_mtok"):
        return None
    usd = column.endswith("_usd_per_mtok")
    try:
        value = float(cell) if usd else int(cell)
    except ValueError:
        value = math.nan
    if not (0 <= value <= DEAREST if usd else value > 0):
        allowed = f"a price in USD per million tokens, 0 to {DEAREST:g}" if usd else "a whole number above 0"
        raise ValueError(f"{column}: got {quoted(cell)}; allowed is {allowed}")
    return value


def table_text(day: str, source: str, rows: Iterable[ModelPrice]) -> str:
    """The text of a CSV file of the rows, sorted by id, so that the difference of two files is short."""
    lines = [f"# prices of {day} from {source}", ",".join(COLUMNS)]
    for row in sorted(rows, key=lambda row: row.id):
        numbers = ["" if (value := getattr(row, name)) is None else f"{value:.10g}" for name in NUMBERS]
        lines.append(",".join([row.id, *numbers, " ".join(flag for flag in FLAGS if getattr(row, flag))]))
    return "\n".join([*lines, ""])
