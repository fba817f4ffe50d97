"""Command-line arguments that several commands share: the parser, flags, their types, and how a command is added.

Knows no command. The parser explains a mistyped command line in one line. Imports nothing heavy, so that --help
answers at once.
"""

import argparse
import difflib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from router.checkpoint.default_checkpoint import CHECKPOINT_VARIABLE
from router.options import ATTITUDES, BACKENDS, DIAL_MAX, HNSW_REMOVED, INDEX_CHOICES

Commands = argparse._SubParsersAction  # which argparse does not name otherwise
EXIT_CODES = "exit codes: 0 done, 1 failed, 2 wrong usage, 3 some lines failed, 130 interrupted"


class Parser(argparse.ArgumentParser):
    """As argparse's, also for the commands that are added to it.

    For an unknown flag it names the flag most like it; for words behind a query it says to quote the query; for any
    other mistake it says where the flags are listed. --help keeps the lines of the epilog, which holds examples.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"formatter_class": argparse.RawDescriptionHelpFormatter} | options)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """The parsed arguments; ends with exit code 2 and one line where some are left over."""
        self._given = sys.argv[1:] if args is None else list(args)
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self._refuse(self._flags(rest), found, rest)
        return found, rest

    def error(self, message: str) -> NoReturn:
        """End with exit code 2 and one line; a flag that is missing because it was misspelt is named."""
        if "required" in message and (strange := self._flags(self._given)):
            self._refuse(strange)
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")

    def _flags(self, args: Sequence[str]) -> list[str]:
        """Flags in `args` that the parser does not know."""
        before = args[: args.index("--")] if "--" in args else args
        names = [each.partition("=")[0] for each in before if each.startswith("-") and each != "-"]
        return [name for name in names if name not in self._option_string_actions]

    def _refuse(
        self, flags: Sequence[str], found: argparse.Namespace | None = None, rest: Sequence[str] = ()
    ) -> NoReturn:
        query = getattr(found, "query", None)
        if flags:
            like = difflib.get_close_matches(flags[0], self._option_string_actions, n=1)
            hint = f"did you mean {like[0]}?" if like else f"`{self.prog} --help` lists those there are"
            message = f"there is no flag {flags[0]}: {hint}"
        elif query is not None:
            words = shlex.quote(" ".join([query, *rest]))
            message = f"a query is one argument: quote the query, {self.prog} {words}"
        else:
            message = f"unrecognized arguments: {' '.join(rest)}"
        self.exit(2, f"router: error: {message}\n")


def add_command(
    commands: Commands,
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int] | None = None,
    examples: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """The parser of a new command; --help ends with `examples`, whole command lines that can be typed as they are.

    `run` is its function, None for a command that has commands of its own.
    """
    description = f"{text[0].upper()}{text[1:]}."
    epilog = "\n  ".join(["examples:", *examples]) + (f"\n\n{EXIT_CODES}" if run else "")
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=description, epilog=epilog, allow_abbrev=False
    )
    if run:
        command.set_defaults(run=run)
    return command


def add_common(command: argparse.ArgumentParser) -> None:
    """Add the flags of every command that routes: checkpoint, device, backend, JSON, verbosity."""
    command.add_argument(
        "--checkpoint",
        metavar="PATH|hub:OWNER/NAME[@REVISION]",
        help=f"what to route with (default: {CHECKPOINT_VARIABLE}, else the clone's checkpoints/routemix, else the "
        "installed package inferencedynamics-checkpoint)",
    )
    command.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, cuda:1, ... (default: cpu)")
    command.add_argument(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="what computes the encoder; auto: onnxruntime on a CPU, torch on a GPU (default: auto)",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    add_verbosity(command)


def add_changed(command: argparse.ArgumentParser, flag: str) -> None:
    """Add the flags of a command that changes a checkpoint; there is no default, so never the shipped one."""
    command.add_argument(
        flag, dest="checkpoint", metavar="CHECKPOINT", required=True, help="the checkpoint folder that is changed"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    add_verbosity(command)


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add -v and -q, which stand before or after the command's name.

    SUPPRESS keeps a command from resetting the flag before its name.
    """
    level = parser.add_mutually_exclusive_group()
    for short, long, text in (
        ("-v", "--verbose", "log more, and show the traceback of an error"),
        ("-q", "--quiet", "log errors only, no progress bar"),
    ):
        level.add_argument(short, long, action="store_true", default=argparse.SUPPRESS, help=text)


def add_choice(command: argparse.ArgumentParser) -> None:
    """Add the flags that say how models are chosen and what is shown of the choice."""
    command.add_argument(
        "--batch-size", type=number(int, 1), default=32, metavar="N", help="queries at a time (default: 32)"
    )
    choice = command.add_argument_group("the choice")
    add = choice.add_argument
    add("--pool", metavar="NAME|FILE", help="the models to choose from (default: the checkpoint's default)")
    wanted = choice.add_mutually_exclusive_group()
    wanted.add_argument(
        "--dial",
        type=number(float, 0, DIAL_MAX),
        metavar="0..10",
        help="0: quality at any price, 10: least predicted cost (default: 3)",
    )
    wanted.add_argument(
        "--budget",
        dest="budget_usd_per_1k",
        type=number(float, 0),
        metavar="USD_PER_1K",
        help="greatest mean predicted cost of 1,000 queries: of --input each 1,000 lines keep to it exactly, one query "
        "and stdin take the dial that kept to it on validation",
    )
    wanted.add_argument(
        "--quality-at-least",
        type=number(float, 0, 1),
        metavar="0..1",
        help="least mean predicted quality, at the least cost; met as --budget is",
    )
    for flag, verb in (("--allow", "only"), ("--deny", "no")):
        add(
            flag,
            type=names,
            action="extend",
            default=[],
            metavar="NAMES",
            help=f"{verb} models of these names or wildcards, a,b*; repeatable",
        )
    add("--tools", action="store_true", help="only models that can call tools")
    add("--images", action="store_true", help="only models that read images")
    add("--context-tokens", type=number(int, 0), metavar="N", help="the context that prompt and answer need")
    add("--max-price", type=number(float, 0), metavar="USD_PER_MTOK", help="highest price of input and of output")
    add("--guard", action="store_true", help="do not read an unusual end of a query that changes its route")
    add(
        "--attitude",
        choices=ATTITUDES,
        default="neutral",
        help="towards models onboarded from few answers: quality a standard deviation up or down (default: neutral)",
    )
    add_index_kind(choice)
    shown = command.add_argument_group("what is shown")
    shown.add_argument("--top", type=number(int, 1), default=5, metavar="K", help="alternatives shown (default: 5)")
    shown.add_argument("--explain", action="store_true", help="say why; in JSON lines: keep the reasons")


def add_index_kind(where: argparse._ActionsContainer) -> None:
    """Add --index."""
    where.add_argument(
        "--index",
        type=_index_kind,
        choices=INDEX_CHOICES,
        default="auto",
        help="how candidates are found in a pool of thousands; exact scores all of them (default: auto, by size)",
    )


def _index_kind(text: str) -> str:
    """An argparse type: any text but a kind of index that was removed."""
    if text == "hnsw":
        raise argparse.ArgumentTypeError(HNSW_REMOVED)
    return text


def number(kind: Callable[[str], float], low: float, high: float = float("inf")) -> Callable[[str], float]:
    """An argparse type: a number of `kind` in [low, high]."""
    allowed = f"{'a whole number' if kind is int else 'a number'} " + (
        f"of at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
    )

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high or value == float("inf"):
            raise argparse.ArgumentTypeError(f"got {text!r}, allowed is {allowed}")
        return value

    return parse


def names(text: str) -> list[str]:
    """An argparse type: names or wildcards, separated by commas."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed are names or wildcards, separated by commas")
    return found


def folds(text: str) -> list[int]:
    """An argparse type: folds from 0 to 9, separated by commas; sorted, each once."""
    parts = text.split(",")
    if not all(part.strip() in set("0123456789") for part in parts):
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed are whole numbers from 0 to 9, separated by commas")
    return sorted({int(part) for part in parts})
