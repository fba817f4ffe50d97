"""Command `router prices`: the price table in use, rows of named models, and newer tables from a file or a URL.

Knows no checkpoint. Connects only to a URL that the user names.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.cli.arguments import Commands, add_command, add_verbosity
from router.cli.loading import print_json
from router.cli.text import table
from router.errors import PoolError, UsageError
from router.files import atomic_write

if TYPE_CHECKING:
    from router.pools.prices import PriceTable

logger = logging.getLogger(__name__)


def add_prices(commands: Commands) -> None:
    """Add `router prices` to the parser."""
    examples = ["router prices gpt-4o", "router prices --diff prices.csv"]
    text = "show the price table or rows of it, or take a newer one"
    command = add_command(commands, "prices", text, run_prices, examples)
    command.add_argument("models", nargs="*", metavar="MODEL", help="the names of models whose rows are shown")
    source = command.add_mutually_exclusive_group()
    for flag, text in (("--update", "take the prices from there, once checked"), ("--diff", "show what would change")):
        source.add_argument(
            flag, metavar="FILE|URL", help=f"{text}: a table, or litellm's model_prices_and_context_window.json"
        )
    command.add_argument("--date", metavar="DAY", help="the day on which a FILE of litellm was current, YYYY-MM-DD")
    command.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="where --update writes (default: ROUTER_PRICES, else inferencedynamics/prices.csv in the user's settings)",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    add_verbosity(command)


def run_prices(args: Namespace) -> int:
    """Show the table in use or rows of it, or compare it with another and with --update replace it."""
    source = args.update or args.diff
    if source is None:
        if args.to or args.date:
            raise UsageError("--to goes with --update, and --date with --update or --diff: name a FILE or a URL")
        return _show(args)
    if args.models or (args.to and args.diff):
        raise UsageError(f"{'MODEL' if args.models else '--to'} cannot go with --{'update' if args.update else 'diff'}")
    from router.pools.price_file import table_text, user_file
    from router.pools.price_sources import changes, check_update, read_source

    old, new = _table_in_use(), read_source(source, args.date)
    differing = list(changes(old, new))
    file = None
    if args.update:
        check_update(new, old)
        file = args.to or user_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file, table_text(new.date, new.source, new.rows.values()).encode())
    if args.json:
        print_json({"old_date": old.date, "date": new.date, "changes": dict(differing), "file": file and str(file)})
        return 0
    print(*change_lines(differing), f"prices of {new.date} in place of {old.date}", sep="\n")
    if file:
        logger.info("%s holds %d models of %s", file, len(new.rows), new.source)
    return 0


def _table_in_use() -> PriceTable:
    """The table that another is compared with: the shipped one, with a warning, where the one in use is broken."""
    from router.pools.price_file import SHIPPED, price_table, read_table

    try:
        return price_table()
    except PoolError as error:
        logger.warning("%s; the shipped table is compared", error)
        return read_table(SHIPPED.read_text(encoding="utf-8"), str(SHIPPED))


def _show(args: Namespace) -> int:
    from router.pools.price_file import price_table, warn_if_old

    prices = price_table()
    warn_if_old(prices)
    rows = [prices.find(name) for name in args.models]
    about = {"date": prices.date, "source": prices.source, "models": len(prices.rows)}
    if args.json:
        print_json(about | {"prices": [vars(row) for row in rows]})
        return 0
    print(f"prices of {prices.date} from {prices.source}, {len(prices.rows):,} models")
    if rows:
        head = ["model", "in $/Mtok", "out", "cached read", "write", "from", "context", "answer", "can"]
        print(*table(head, [_cells(row) for row in map(vars, rows)], right=range(1, 8)), sep="\n")
    return 0


def _cells(row: Mapping[str, Any]) -> list[str]:
    numbers = ["?" if value is None else f"{value:.10g}" for value in list(row.values())[1:8]]
    return [row["id"], *numbers, ", ".join(name for name, value in row.items() if value is True)]


def change_lines(changes: Iterable[tuple[str, Mapping[str, tuple[Any, Any]] | str]]) -> list[str]:
    """A line for each changed model, and their number."""
    lines = []
    for name, change in changes:
        if isinstance(change, str):
            lines.append(f"{name}: {change}")
        else:
            lines.append(f"{name}: " + ", ".join(f"{field} {old} -> {new}" for field, (old, new) in change.items()))
    return [*lines, f"{len(lines)} models differ"]
