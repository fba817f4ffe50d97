"""`router` on the command line: route, batch, pools, show, evaluate, anchors, onboard, forget, index, keys, serve.

Arguments, logging and exit codes; what a command does is in `router.cli.show` and the `router.*_command`s. Nothing
heavy is imported here, so that --help and --version answer at once. Data goes to stdout, everything else to stderr.

    0 done   1 failed   2 wrong usage   3 some lines failed   130 interrupted
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import router as package
from router.batch.corpus import OUTPUTS
from router.batch.lines import FORMATS
from router.checkpoint.default_checkpoint import CHECKPOINT_VARIABLE
from router.cli import anchors as anchors_command
from router.cli import batch as batch_command
from router.cli import keys as keys_command
from router.cli import onboard as onboard_command
from router.cli import route as route_command
from router.cli import serve as serve_command
from router.cli import show as commands
from router.cli.parser import Parser
from router.errors import RouterError, UsageError
from router.options import ATTITUDES, BACKENDS, DIAL_MAX, INDEX_CHOICES

Commands = argparse._SubParsersAction  # which argparse does not name otherwise
logger = logging.getLogger("router.cli.main")  # also where this file is run as __main__

FAILED, USAGE, INTERRUPTED = 1, 2, 130
EXIT_CODES = "exit codes: 0 done, 1 failed, 2 wrong usage, 3 some lines failed, 130 interrupted"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. A RouterError is one line on stderr, with -v also its traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
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
            _discard_stdout()
            return 0
        except (RouterError, OSError) as error:
            logger.debug("this is where it failed:", exc_info=True)
            print(f"router: error: {error}", file=sys.stderr)
            return USAGE if isinstance(error, UsageError) else FAILED
        except KeyboardInterrupt:
            print("router: interrupted", file=sys.stderr)
            return INTERRUPTED


def _discard_stdout() -> None:
    """Let the interpreter's flush at exit find a place to write to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    """Looks the version up when it is asked for only."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"router {package.__version__}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `run` in its result is the command's function."""
    parser = Parser(
        "router",
        description="Routes each query to the language model that answers it best for the money, and says why.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    _add_verbosity(parser)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.set_defaults(verbose=False, quiet=False)
    kinds = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text, add, run in (
        (
            "route",
            "choose a model for a query, or for every line of a file or of stdin",
            _add_route,
            route_command.run_route,
        ),
        ("batch", "route a large corpus into a folder of parts", _add_batch, batch_command.run_batch),
        ("pools", "list the checkpoint's pools and their models, or check a pool file", _add_pools, commands.run_pools),
        ("show", "print a model's facts and its learned profile", _add_show, commands.run_show),
        ("evaluate", "judge the router on recorded outcomes", _add_evaluate, commands.run_evaluate),
        ("anchors", "choose which queries to grade for a new model", _add_anchors, anchors_command.run_anchors),
        (
            "onboard",
            "add a model from graded answers or benchmark scores",
            _add_onboard,
            onboard_command.run_onboard,
        ),
        ("forget", "take an onboarded model out again", _add_forget, onboard_command.run_forget),
        ("index", "build a large pool's index and keep it in the checkpoint's folder", _add_index, commands.run_index),
        ("serve", "route and forward requests over HTTP, as OpenAI's API", _add_serve, serve_command.run_serve),
    ):
        command = kinds.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EXIT_CODES, allow_abbrev=False
        )
        changes = {"onboard": "--into", "forget": "--from"}.get(name)
        _add_changed(command, changes) if changes else _add_common(command)
        add(command)
        command.set_defaults(run=run)
    _add_keys(kinds)
    return parser


def _add_keys(kinds: Commands) -> None:
    """`router keys`, which is three commands and knows no checkpoint."""
    text = "make, list and revoke the keys of clients of `router serve`"
    keys = kinds.add_parser("keys", help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    _add_verbosity(keys)
    actions = keys.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text, run in (
        ("create", "make a key and print its secret, once", keys_command.run_create),
        ("list", "list the keys, never their secrets", keys_command.run_list),
        ("revoke", "refuse a key from now on, also in servers that run", keys_command.run_revoke),
    ):
        action = actions.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EXIT_CODES, allow_abbrev=False
        )
        if name == "create":
            action.add_argument("name", metavar="NAME", help="whose key it is")
            action.add_argument(
                "--requests-per-minute", type=_number(int, 1), metavar="N", help="the most it may ask (default: any)"
            )
        elif name == "revoke":
            action.add_argument("id", metavar="ID", help="the key's id, as `router keys list` shows it")
        action.add_argument(
            "--file",
            type=Path,
            metavar="FILE",
            help="where the keys are (default: ROUTER_KEYS, else inferencedynamics/keys.json in the user's settings)",
        )
        action.add_argument("--json", action="store_true", help="print one JSON object")
        _add_verbosity(action)
        action.set_defaults(run=run)


def _add_common(command: argparse.ArgumentParser) -> None:
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
    _add_verbosity(command)


def _add_changed(command: argparse.ArgumentParser, flag: str) -> None:
    """What a command takes that changes a checkpoint: never by default the shipped one."""
    command.add_argument(
        flag, dest="checkpoint", metavar="CHECKPOINT", required=True, help="the checkpoint folder that is changed"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    _add_verbosity(command)


def _add_verbosity(parser: argparse.ArgumentParser) -> None:
    """-v and -q, before or after the command's name: SUPPRESS keeps a command from resetting what stood before it."""
    level = parser.add_mutually_exclusive_group()
    for short, long, text in (
        ("-v", "--verbose", "log more, and show the traceback of an error"),
        ("-q", "--quiet", "log errors only, no progress bar"),
    ):
        level.add_argument(short, long, action="store_true", default=argparse.SUPPRESS, help=text)


def _add_route(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "query", nargs="?", help="the query; `-`, or nothing where stdin is piped, reads one query per line from stdin"
    )
    files = command.add_argument_group("many queries, to one JSON line each")
    files.add_argument(
        "--input",
        metavar="FILE",
        help=".txt: a query per line; .jsonl: per line an object with the key query (or text) and optionally id, dial",
    )
    files.add_argument("--format", choices=FORMATS, help="what the lines are (default: the file's suffix; stdin: txt)")
    files.add_argument("--output", metavar="FILE", type=Path, help="write there, by way of FILE.partial, not to stdout")
    files.add_argument("--resume", action="store_true", help="continue the FILE.partial of an interrupted run")
    files.add_argument("--force", action="store_true", help="replace FILE; without --resume also discard FILE.partial")
    _add_choice(command)


def _add_batch(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "input", metavar="FILE", help=".txt or .jsonl as for route, or .parquet with the column query (or text)"
    )
    command.add_argument("--format", choices=batch_command.INPUTS, help="what FILE is (default: its suffix)")
    command.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="folder of the parts; those in it are kept"
    )
    command.add_argument(
        "--output-format", choices=OUTPUTS, default="jsonl", help="what the parts are (default: jsonl)"
    )
    _add_choice(command)


def _add_choice(command: argparse.ArgumentParser) -> None:
    """How models are chosen, and what is told of it."""
    command.add_argument(
        "--batch-size", type=_number(int, 1), default=32, metavar="N", help="queries at a time (default: 32)"
    )
    choice = command.add_argument_group("the choice")
    choice.add_argument(
        "--pool", metavar="NAME|FILE", help="the models to choose from (default: the checkpoint's default)"
    )
    wanted = choice.add_mutually_exclusive_group()
    wanted.add_argument(
        "--dial",
        type=_number(float, 0, DIAL_MAX),
        metavar="0..10",
        help="0: quality at any price, 10: least predicted cost (default: 3)",
    )
    wanted.add_argument(
        "--budget",
        dest="budget_usd_per_1k",
        type=_number(float, 0),
        metavar="USD_PER_1K",
        help="greatest mean predicted cost of 1,000 queries: of --input each 1,000 lines keep to it exactly, one query "
        "and stdin take the dial that kept to it on validation",
    )
    wanted.add_argument(
        "--quality-at-least",
        type=_number(float, 0, 1),
        metavar="0..1",
        help="least mean predicted quality, at the least cost; met as --budget is",
    )
    for flag, verb in (("--allow", "only"), ("--deny", "no")):
        choice.add_argument(
            flag,
            type=_names,
            action="extend",
            default=[],
            metavar="NAMES",
            help=f"{verb} models of these names or wildcards, a,b*; repeatable",
        )
    choice.add_argument("--tools", action="store_true", help="only models that can call tools")
    choice.add_argument("--images", action="store_true", help="only models that read images")
    choice.add_argument(
        "--context-tokens", type=_number(int, 0), metavar="N", help="the context that prompt and answer need"
    )
    choice.add_argument(
        "--max-price", type=_number(float, 0), metavar="USD_PER_MTOK", help="highest price of input and of output"
    )
    choice.add_argument(
        "--guard", action="store_true", help="do not read an unusual end of a query that changes its route"
    )
    choice.add_argument(
        "--attitude",
        choices=ATTITUDES,
        default="neutral",
        help="towards models onboarded from few answers: quality a standard deviation up or down (default: neutral)",
    )
    _add_kind(choice)
    shown = command.add_argument_group("what is shown")
    shown.add_argument("--top", type=_number(int, 1), default=5, metavar="K", help="alternatives shown (default: 5)")
    shown.add_argument("--explain", action="store_true", help="say why; in JSON lines: keep the reasons")


def _add_pools(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--check", metavar="FILE", help="print every problem of a pool file (YAML, JSON); exit code 1 if any"
    )


def _add_show(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="a model's name")
    where = command.add_mutually_exclusive_group()
    where.add_argument("--pool", metavar="NAME|FILE", help="the pool whose facts and profile are meant")
    where.add_argument("--protocol", metavar="NAME", help="the protocol meant, where the name is known under several")
    command.add_argument("--top", type=_number(int, 1), default=5, metavar="K", help="axes shown (default: 5)")


def _add_index(command: argparse.ArgumentParser) -> None:
    command.add_argument("--pool", metavar="NAME|FILE", help="the pool (default: the checkpoint's default)")
    _add_kind(command)


def _add_serve(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "pool_file", metavar="POOL", help="a pool file (YAML, JSON), its settings in the section serve"
    )
    command.add_argument("--host", metavar="ADDRESS", help="where to listen (default: 127.0.0.1); elsewhere needs keys")
    command.add_argument("--port", type=_number(int, 0, 65535), metavar="N", help="(default: 8080; 0: any free one)")
    command.add_argument("--keys", metavar="FILE", help="client keys, made by `router keys create`")
    command.add_argument("--decision-log", metavar="FILE", help="keep decisions and outcomes in this SQLite file")
    command.add_argument("--check", action="store_true", help="only print every problem of the configuration")
    command.add_argument("--plain-log", action="store_true", help="log lines for people, not JSON")
    _add_kind(command)


def _add_kind(where: argparse._ActionsContainer) -> None:
    where.add_argument(
        "--index",
        choices=INDEX_CHOICES,
        default="auto",
        help="how candidates are found in a pool of thousands; exact scores all of them (default: auto, by size)",
    )


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data",
        metavar="DIR",
        help="a folder in RouteMix-open's format (default: ROUTEMIX_DIR, else data/routemix-open)",
    )
    command.add_argument("--pool", metavar="NAME|FILE", help="the pool to judge (default: the checkpoint's default)")
    rows = command.add_mutually_exclusive_group(required=True)
    rows.add_argument("--split", help="judge on the rows of this split: train, val, test or ood")
    rows.add_argument("--folds", type=_folds, metavar="8,9", help="judge on these folds of every split")
    command.add_argument(
        "--batch-size", type=_number(int, 1), default=32, metavar="N", help="queries at a time (default: 32)"
    )


def _add_onboard(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", nargs="?", metavar="MODEL", help="the new model's name")
    known = command.add_argument_group("what is known of it")
    known.add_argument(
        "--answers",
        metavar="FILE",
        help="graded answers, one JSON object a line: query, score (0 to 1) [, output_tokens]",
    )
    known.add_argument("--benchmarks", nargs="+", metavar="NAME=SCORE", help="published scores from 0 to 1")
    known.add_argument("--price-in", type=_number(float, 0), metavar="USD_PER_MTOK", help="price of input")
    known.add_argument("--price-out", type=_number(float, 0), metavar="USD_PER_MTOK", help="price of output")
    known.add_argument("--context", type=_number(int, 1), metavar="TOKENS", help="context window")
    known.add_argument("--tools", action="store_true", help="it can call tools")
    known.add_argument("--images", action="store_true", help="it reads images")
    known.add_argument(
        "--protocol", metavar="NAME", help="the trained protocol that it is prompted like (default: the default pool's)"
    )
    folder = command.add_argument_group("or all new models of a data folder (docs/data.md)")
    folder.add_argument("--data", metavar="DIR", help="a folder with outcomes of models that training did not know")
    rows = folder.add_mutually_exclusive_group()
    rows.add_argument("--split", help="fit on the rows of this split, such as train")
    rows.add_argument("--folds", type=_folds, metavar="0,1", help="fit on these folds")
    command.add_argument(
        "--pool",
        action="append",
        metavar="NAME",
        help="a pool that it joins, repeatable (default: the default pool); with --data the name of the new pool "
        "(default: the folder's)",
    )
    command.add_argument("--no-pool", action="store_true", help="join no pool: only make the profile")
    command.add_argument("--replace", action="store_true", help="fit a model anew that was onboarded before")


def _add_forget(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="name, or model@protocol, of an onboarded model")


def _add_anchors(command: argparse.ArgumentParser) -> None:
    command.add_argument("--n", type=_number(int, 1), default=50, metavar="N", help="how many (default: 50)")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--queries", metavar="FILE", help="choose from these queries: .txt or .jsonl, as for route")
    source.add_argument("--data", metavar="DIR", help="choose from the train split of a data folder")
    command.add_argument("--output", metavar="FILE", required=True, help="where to write them, as .jsonl")
    command.add_argument("--force", action="store_true", help="replace FILE")
    command.add_argument(
        "--protocol", metavar="NAME", help="how the model will be prompted (default: the default pool's)"
    )
    command.add_argument("--seed", type=_number(int, 0), default=0, help="another draw (default: 0)")


def _number(kind: Callable[[str], float], low: float, high: float = float("inf")) -> Callable[[str], float]:
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


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed are names or wildcards, separated by commas")
    return names


def _folds(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip() in set("0123456789") for part in parts):
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed are whole numbers from 0 to 9, separated by commas")
    return sorted({int(part) for part in parts})


if __name__ == "__main__":
    sys.exit(main())
