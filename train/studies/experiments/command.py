"""The project's first experiments: `python -m train experiment planted|domains|budget|ceiling`; see each one's --help.

Prints a table in Markdown; `--json FILE` keeps every figure.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from router.errors import UsageError
from router.files import atomic_write
from train.studies.experiments import budget, ceiling, domains, planted

EXPERIMENTS = {"planted": planted, "domains": domains, "budget": budget, "ceiling": ceiling}


def main(args: list[str] | None = None) -> int:
    """Exit code of one experiment: 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m train experiment", description=__doc__)
    names = parser.add_subparsers(dest="experiment", required=True, metavar="|".join(EXPERIMENTS))
    for name, module in EXPERIMENTS.items():
        own = names.add_parser(name, help=module.HELP.splitlines()[0], description=module.HELP)
        module.add_arguments(own)
        own.add_argument("--json", type=Path, metavar="FILE", help="also write every figure as JSON")
    options = parser.parse_args(args)
    if options.json and not options.json.parent.is_dir():
        raise UsageError(f"cannot write --json {options.json}: there is no folder {options.json.parent}")
    module = EXPERIMENTS[options.experiment]
    report = module.run(options)
    if options.json:
        atomic_write(options.json, (json.dumps(report, indent=1) + "\n").encode())
    print(module.table(report))
    return 0
