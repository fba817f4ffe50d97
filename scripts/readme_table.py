"""Measured section of the README, written from the output of two commands.

python -m train measure checkpoints/routemix --folds 8,9 > measure.json
python scripts/seeds.py configs/routemix.yaml > seeds.json
python scripts/readme_table.py measure.json seeds.json
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
HEAD = "| pool | n | best single · oracle | AIQ | quality | half cost | ECE | AIQ, 5 seeds | quality, 5 seeds |"


def row(pool: str, figures: dict[str, Any], seeds: dict[str, Any]) -> str:
    """One pool's row: the shipped checkpoint's margins, then mean ± standard deviation over seeds."""
    best = figures["best_single"]
    margins = (figures["aiq"] - figures["aiq_zero"], figures["quality"] - best, figures["quality_at_half_cost"] - best)
    spread = (f"{seeds[key]['mean']:+.4f} ±{seeds[key]['sd']:.4f}" for key in ("aiq_margin", "quality_margin"))
    counts = (f"{figures['n']:,}", f"{best:.3f} · {figures['oracle']:.3f}")
    cells = (pool, *counts, *(f"{margin:+.4f}" for margin in margins), f"{figures['ece']:.3f}", *spread)
    return f"| {' | '.join(cells)} |"


def section(measured: dict[str, Any], seeds: dict[str, Any], seed: int, date: str) -> str:
    """The README's measured section between its marks."""
    rows = "\n".join(row(pool, each, seeds["figures"][pool]) for pool, each in measured["pools"].items())
    first, second = measured["first_capability"], measured["first_domain"]
    of_seeds = f"seeds {', '.join(map(str, seeds['seeds']))} (`python scripts/seeds.py {seeds['config']}`)"
    folds = [str(fold) for fold in measured["folds"]]
    command = f"python -m train measure checkpoints/routemix --folds {','.join(folds)}"
    return f"""{BEGIN}
Folds {" and ".join(folds)} of RouteMix-open, never trained or tuned on; margins of AIQ over the Zero router (the hull
of single models), of quality at dial 0 and at half the cost over the best single model ([definitions](docs/method.md)).
`{command}`, two CPU cores; the last two columns are mean ± standard
deviation over {of_seeds}.
The shipped seed is {seed}, the best on fold 7 by AIQ plus quality. Written by `python scripts/readme_table.py`, {date}.

{HEAD}
|{"---|" * (HEAD.count("|") - 1)}
{rows}

First capability as the annotator's in {first:.1%} of {measured["annotated"]:,} queries, first domain in {second:.1%}
(a second annotator: 95% and 89%).
{END}"""


def main() -> int:
    """Replace the section; 0 when done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measured", type=Path, help="output of `python -m train measure`")
    parser.add_argument("seeds", type=Path, help="output of scripts/seeds.py")
    parser.add_argument("--readme", type=Path, default=REPOSITORY / "README.md")
    options = parser.parse_args()
    measured, seeds = (json.loads(file.read_text(encoding="utf-8")) for file in (options.measured, options.seeds))
    if measured["folds"] != seeds["rows"].get("folds"):
        parser.error(f"the files judge other rows: folds {measured['folds']} and {seeds['rows']}")
    seed = int(Router.from_pretrained(CHECKPOINT, backend="torch").checkpoint.training["seed"])
    text = options.readme.read_text(encoding="utf-8")
    block = section(measured, seeds, seed, datetime.date.today().isoformat())
    atomic_write(options.readme, insert(text, block).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
