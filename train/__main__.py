"""Entry point `python -m train COMMAND`: Lightning's fit, validate, test, predict, and our commands."""

import importlib
import sys

from router.errors import RouterError, UsageError

HELP = """\
`python -m train COMMAND`: Lightning's fit, validate, test and predict, and our own commands.

fit | validate | test | predict   train and judge a router (--help tells all options)
annotate                          have an LLM name what your queries need
collect                           run a pool over your queries, grade the answers, write a data folder
planted                           write a small generated data folder
build                             make a data folder of public benchmarks and published outcomes
check                             find what is wrong with a data folder
compare                           judge baselines and our routers side by side, with intervals
average                           average a fine-tuned encoder's weights with those it started from
runs                              list and compare training runs, local, exported or online
sweep                             run the grid of a W&B sweep file without W&B's server
robustness                        count flips under rewording, search suffixes that move routes, try the guard
reading                           what is read in texts: labels, the same task reworded, translated, in long material
measure                           judge a checkpoint on all its pools and write the table into its card
benchmarks                        write what known models scored, for first profiles of new ones
onboarding                        how good profiles from few answers and from benchmark scores are
strength                          how well strengths order systems on benchmarks that they were fitted without
dials                             measure what each dial costs and gives, for budgets
risk                              the cheapest dial that loses little against the best single model, for sure
backends                          whether onnxruntime decides as torch does, in float32 and with 8 bits"""
COMMANDS = {
    "annotate": "train.annotate.command",
    "collect": "train.collect.command",
    "planted": "train.data_folders.synthetic.command",
    "build": "train.data_folders.build.command",
    "check": "train.data_folders.check.command",
    "measure": "train.studies.measure",
    "average": "train.export.average",
    "runs": "train.runs.command",
    "sweep": "train.runs.sweep",
    "compare": "train.compare.command",
    "benchmarks": "train.export.benchmarks",
    "onboarding": "train.studies.onboarding",
    "strength": "train.studies.strength",
    "dials": "train.studies.dials",
    "risk": "train.studies.risk",
    "backends": "train.studies.backends",
    "robustness": "train.studies.robustness.command",
    "reading": "train.studies.reading.command",
}
LIGHTNING = ("fit", "validate", "test", "predict")
TWO_ON_BAD_USAGE = ("build", "check")  # as argparse exits; all others with 1


def main(args: list[str] | None = None) -> int:
    """Dispatch to a command, whose RouterError becomes a line on stderr and exit code 1; 2 for an unknown command."""
    args = sys.argv[1:] if args is None else args
    if args and args[0] in COMMANDS:
        try:
            return int(importlib.import_module(COMMANDS[args[0]]).main(args[1:]))
        except RouterError as error:
            print(f"train: error: {error}", file=sys.stderr)
            return 2 if isinstance(error, UsageError) and args[0] in TWO_ON_BAD_USAGE else 1
    if args and args[0] in LIGHTNING:
        return int(importlib.import_module("train.cli").main(args))
    print(HELP, file=sys.stdout if args in (["-h"], ["--help"]) else sys.stderr)
    return 0 if args in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main())
