#!/usr/bin/env python3
"""Price table of the package, router/pools/prices.csv, made from the price file in a wheel of litellm.

    pip download --no-deps --dest runs litellm
    python scripts/price_table.py runs/litellm-*.whl --date 2026-11-29      # the day of the download

litellm (MIT) is neither installed nor imported: its file is read out of the wheel. What changes is printed.
"""

import argparse
import json
import sys
import zipfile
from pathlib import Path

from router.cli.prices import change_lines
from router.files import atomic_write
from router.pools.price_file import SHIPPED, read_table, table_text
from router.pools.price_sources import changes, from_litellm

MEMBER = "litellm/model_prices_and_context_window_backup.json"


def main() -> int:
    """Write the table and print what changes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("wheel", type=Path, help="the wheel of litellm")
    parser.add_argument("--date", required=True, help="the day on which its prices were current, YYYY-MM-DD")
    args = parser.parse_args()
    raw = json.loads(zipfile.ZipFile(args.wheel).read(MEMBER))
    table = from_litellm(raw, args.date, "litellm " + args.wheel.name.split("-")[1])
    if SHIPPED.exists():
        old = read_table(SHIPPED.read_text(encoding="utf-8"), str(SHIPPED))
        print(*change_lines(changes(old, table)), sep="\n")
    atomic_write(SHIPPED, table_text(table.date, table.source, table.rows.values()).encode())
    print(f"{SHIPPED}: {len(table.rows)} models, {SHIPPED.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
