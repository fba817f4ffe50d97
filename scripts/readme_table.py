"""Measured section of the README, written from the output of two commands.

python -m train measure checkpoints/routemix --folds 8,9 > measure.json
python -m train reading checkpoints/routemix --folds 8,9 --output reading.json
python scripts/readme_table.py measure.json reading.json
"""

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

from router import Router
from router.files import atomic_write
from train.studies.measure import BEGIN, END, insert

REPOSITORY = Path(__file__).parents[1]
CHECKPOINT = REPOSITORY / "checkpoints" / "routemix"
HEAD = "| pool | n | best single · oracle | AIQ | quality | half cost | ECE |"
READING = ("what it reads", "all", "everyday", "non-English uncommonroute")
READ = ("difficulty", "first capability", "first domain")


def row(pool: str, figures: dict[str, Any]) -> str:
    """One pool's row: the shipped checkpoint's margins."""
    best, half = figures["best_single"], figures["quality_at_half_cost"]
    margins = [figures["aiq"] - figures["aiq_zero"], figures["quality"] - best]
    counts = (f"{figures['n']:,}", f"{best:.3f} · {figures['oracle']:.3f}")
    shown = [f"{margin:+.4f}" for margin in margins] + ["–" if half is None else f"{half - best:+.4f}"]
    cells = (pool, *counts, *shown, f"{figures['ece']:.3f}")
    return f"| {' | '.join(cells)} |"


def reading_row(what: str, figures: dict[str, dict[str, Any]]) -> str:
    """One annotated axis: value and 95% interval by kind of query, from figures by name."""
    cells = [figures[f"{what}, {kind}"] for kind in READING[1:]]
    shown = (f"{each['value']:.2f} ({each['low']:.2f} to {each['high']:.2f})" for each in cells)
    return f"| {what} | {' | '.join(shown)} |"


def section(measured: dict[str, Any], reading: dict[str, Any], seed: int, date: str) -> str:
    """The README's measured section between its marks."""
    folds = ",".join(map(str, measured["folds"]))
    labels = {each["name"]: each for each in reading["figures"] if each["part"] == "labels"}
    counts = ", ".join(f"{labels[f'difficulty, {kind}']['n']:,}" for kind in READING[1:])
    pools = "\n".join(row(pool, each) for pool, each in measured["pools"].items())
    read = "\n".join(reading_row(what, labels) for what in READ)
    return f"""{BEGIN}
Folds {folds}, never trained or tuned on; seed {seed}, two CPU cores, {date}; by `python scripts/readme_table.py`.

{HEAD}
|{"---|" * (HEAD.count("|") - 1)}
{pools}

`python -m train measure checkpoints/routemix --folds {folds}`: margins of AIQ over the Zero router (the hull of single
models), of quality at dial 0 and at half the cost over the best single model ([definitions](docs/method.md)).

| {" | ".join(READING)} |
|{"---|" * len(READING)}
{read}

`python -m train reading checkpoints/routemix --folds {folds}` on annotated queries of RouteMix-2026
({counts}): difficulty as rank correlation, the others as the share that agrees, with 95% intervals;
"multilingual" is told with F1 {labels["multilingual, F1"]["value"]:.2f}.
{END}"""


def main() -> int:
    """Replace the section; 0 when done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measured", type=Path, help="output of `python -m train measure`")
    parser.add_argument("reading", type=Path, help="what `python -m train reading --output` wrote")
    parser.add_argument("--readme", type=Path, default=REPOSITORY / "README.md")
    options = parser.parse_args()
    measured, reading = (json.loads(file.read_text(encoding="utf-8")) for file in (options.measured, options.reading))
    if measured["folds"] != reading["folds"]:
        parser.error(f"the files judge other rows: folds {measured['folds']} and {reading['folds']}")
    seed = int(Router.from_pretrained(CHECKPOINT, backend="torch").checkpoint.training["seed"])
    text = options.readme.read_text(encoding="utf-8")
    block = section(measured, reading, seed, datetime.date.today().isoformat())
    atomic_write(options.readme, insert(text, block).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
