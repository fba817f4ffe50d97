"""Command line `router`: arguments, logging and exit codes of all its commands.

Each command stands in its own module. Nothing heavy is imported here, so that --help and --version answer at once. Data
goes to stdout, everything else to stderr.

    0 done   1 failed   2 wrong usage   3 some lines failed   130 interrupted
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import router as package
from router.cli.arguments import EXIT_CODES, Parser, add_verbosity
from router.cli.batch import add_batch
from router.cli.keys import add_keys
from router.cli.onboarding.add import add_add
from router.cli.onboarding.anchors import add_anchors
from router.cli.onboarding.onboard import add_forget, add_onboard
from router.cli.prices import add_prices
from router.cli.route import add_route
from router.cli.serve import add_serve
from router.cli.show import add_checkpoint, add_evaluate, add_index, add_pools, add_show
from router.errors import RouterError, UsageError

logger = logging.getLogger("router.cli.main")  # also where this file is run as __main__

FAILED, USAGE, INTERRUPTED = 1, 2, 130
FIRST_STEPS = """\
router routes each query to the language model that answers it best for the money. Three things to try:

  router route --explain "Is this clause enforceable in Delaware?"   which model, and why
  router pools                                                       the models there are to choose from
  router route --dial 8 "Is this clause enforceable in Delaware?"    as the first, where money counts more

router --help lists all commands."""
ADD_COMMANDS = (  # in the order of --help
    add_route,
    add_batch,
    add_pools,
    add_prices,
    add_show,
    add_evaluate,
    add_add,
    add_anchors,
    add_onboard,
    add_forget,
    add_index,
    add_checkpoint,
    add_serve,
    add_keys,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. A RouterError is one line on stderr, with -v also its traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv:
        print(FIRST_STEPS, file=sys.stderr)
        return USAGE
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as stop:  # argparse: 0 after --help and --version, 2 after a usage message
        return int(stop.code or 0)
    args.argv = argv
    with _logging(args):
        try:
            code: int = args.run(args)
            sys.stdout.flush()
            return code
        except BrokenPipeError:  # the reader, `head` say, has what it wants
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the interpreter's flush at exit
            return 0
        except (RouterError, OSError) as error:
            logger.debug("this is where it failed:", exc_info=True)
            print(f"router: error: {error}", file=sys.stderr)
            return USAGE if isinstance(error, UsageError) else FAILED
        except KeyboardInterrupt:
            print("router: interrupted", file=sys.stderr)
            return INTERRUPTED


@contextmanager
def _logging(args: argparse.Namespace) -> Iterator[None]:
    """This project's log on stderr for the duration of a command."""
    log = logging.getLogger("router")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("router: %(message)s"))
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.ERROR if args.quiet else logging.DEBUG if args.verbose else logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"router {package.__version__}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `run` in its result is the command's function."""
    parser = Parser(
        "router",
        description="Routes each query to the language model that answers it best for the money, and says why.",
        epilog=f"examples:\n  router pools\n  router route --help\n\n{EXIT_CODES}",
        allow_abbrev=False,
    )
    add_verbosity(parser)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.set_defaults(verbose=False, quiet=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in ADD_COMMANDS:
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
