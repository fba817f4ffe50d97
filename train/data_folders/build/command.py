"""RouteMix from public benchmarks and published outcomes: `python -m train build --out DIR`.

Benchmarks come from the Hub, or from a folder of the published files (--source NAME=FOLDER); outcomes from files in
their own formats (--outcomes FORMAT=PATH). Nothing here has run on the real data: every row and reader is unverified.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from router.cli.text import table as aligned
from router.errors import UsageError, known_names
from train.data_folders.build.benchmarks import BENCHMARKS, INDEX, TESTS, named
from train.data_folders.build.folder import check_target, write_folder
from train.data_folders.build.hub import read_benchmark
from train.data_folders.build.part import Part
from train.data_folders.build.sources import READERS

SETS = {"index": INDEX, "tests": TESTS, "all": BENCHMARKS}


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(prog="python -m train build", description=__doc__)
    made.add_argument("--out", type=Path, metavar="DIR", help="folder to write, whole or not at all")
    made.add_argument("--force", action="store_true", help="replace a folder that this command built")
    made.add_argument("--benchmarks", nargs="+", default=[], metavar="NAME", help="names, or index, tests or all")
    made.add_argument("--source", action="append", default=[], metavar="NAME=FOLDER",
                      help="read this benchmark from a folder of its published files; may be repeated")  # fmt: skip
    made.add_argument("--limit", type=int, metavar="N", help="of each subset of a benchmark, the first N records")
    made.add_argument("--outcomes", action="append", default=[], metavar="FORMAT[@PROTOCOL]=PATH",
                      help=f"published outcomes, of {', '.join(READERS)}; may be repeated")  # fmt: skip
    made.add_argument("--trust-pickle", action="store_true", help="read pickles, which run their maker's code")
    made.add_argument("--models", type=Path, metavar="FILE.csv", help="prices: model, input_usd_per_mtok, output_...")
    made.add_argument("--list", action="store_true", help="print the table of benchmarks and exit")
    return made


def build(options: argparse.Namespace) -> dict[str, Any]:
    """Read all sources and write the folder; returns the manifest."""
    if not options.out:
        raise UsageError("give --out DIR, the folder to write; --list shows the benchmarks")
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit is {options.limit}, allowed is 1 or more")
    check_target(options.out, options.force)
    sources = dict(_pair(each, "--source", "NAME=FOLDER") for each in options.source)
    benchmarks = list(dict.fromkeys([*_expanded(options.benchmarks), *sources]))
    outcomes = [_pair(each, "--outcomes", "FORMAT=PATH") for each in options.outcomes]
    if not benchmarks and not outcomes:
        raise UsageError("nothing to build: give --benchmarks (names, index, tests or all), --source or --outcomes")
    prices = _prices(options.models)
    parts = []
    for kind, path in outcomes:
        source, _, protocol = kind.partition("@")
        if source not in READERS:
            raise UsageError(f"--outcomes {kind}: unknown format {source!r}; {known_names(source, READERS)}")
        parts.append(_reported(READERS[source](_existing(path), protocol or source, options.trust_pickle)))
    for name in benchmarks:
        if not named(name):
            raise UsageError(f"unknown benchmark {name!r}; {known_names(name, {row.name for row in BENCHMARKS})}")
        folder = _existing(sources[name]) if name in sources else None
        parts.append(_reported(read_benchmark(named(name), folder, options.limit)))
    return write_folder(options.out, parts, prices, options.force)


def _pair(text: str, flag: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"{flag} {text}: expected {form}")
    return name, value


def _expanded(names: list[str]) -> list[str]:
    """Names with `index`, `tests` and `all` replaced by the benchmarks they stand for."""
    return [row for name in names for row in (dict.fromkeys(b.name for b in SETS[name]) if name in SETS else [name])]


def _existing(path: str) -> Path:
    if not Path(path).exists():
        raise UsageError(f"there is no {path}")
    return Path(path)


def _prices(path: Path | None) -> pd.DataFrame | None:
    if path is None:
        return None
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"--models {path} cannot be read as CSV: {error}") from error


def _reported(part: Part) -> Part:
    """The part, after printing what was read."""
    left = "".join(f"; left out: {n:,} {reason}" for reason, n in part.left_out.items())
    mark = "" if part.verified else " (unverified)"
    print(f"{part.name}{mark}: {len(part.queries):,} queries, {len(part.outcomes):,} outcomes{left}", file=sys.stderr)
    return part


def table() -> str:
    """The table of benchmarks as text: name, set, grade, verified, hub id, subsets and split."""
    rows = []
    for row in BENCHMARKS:
        subsets = "/".join(str(each) for each in row.configs if each)
        where = f"{row.data_files if row.hub_id == 'json' else row.hub_id} {subsets} [{row.split}]"
        kind, verified = "tests" if row.held_out else "index", "yes" if row.verified else "no"
        rows.append([row.name, kind, row.grade, verified, where])
    return "\n".join(aligned(["benchmark", "set", "grade", "verified", "from"], rows))


def main(args: list[str] | None = None) -> int:
    """Write the folder and print its counts; 0 when done, 1 where a source cannot be read, 2 on bad usage."""
    options = parser().parse_args(args)
    if options.list:
        print(table())
        return 0
    manifest = build(options)
    print(
        f"wrote {options.out}: {manifest['queries']:,} queries in {manifest['groups']:,} groups, "
        f"{manifest['outcomes']:,} outcomes of {manifest['models']:,} models, {manifest['unpriced']:,} without a price"
    )
    for note in manifest["notes"]:
        print(f"note: {note}")
    print(f"next: python -m train check {options.out}")
    return 0
